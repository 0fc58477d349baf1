// From what the form says to a request, and to the same request as a shell command.

/** What cannot be sent; `field` is the id of the input to correct. */
export class FormError extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** The body of a predict request. `form` holds prompt, chat, stream, values (name → text) and more (text). */
export function body(form, schemas) {
  if (!form.prompt) throw new FormError("Write a prompt first.", "prompt");
  const input = form.chat ? { messages: [{ role: "user", content: form.prompt }] } : { prompt: form.prompt };
  const result = { ...input, ...(form.stream ? { stream: true } : {}) };
  for (const [name, text] of Object.entries(form.values)) {
    if (text !== "") result[name] = value(name, text, schemas[name]?.type);
  }
  return { ...result, ...more(form.more) };
}

function value(name, text, type) {
  if (type === "boolean") return text === "true";
  const number = Number(text);
  // The server says what is out of range; what is no number cannot even be sent as one.
  if (!Number.isFinite(number)) throw new FormError(`${name} must be a number; it is ${text}`, `parameter-${name}`);
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new FormError(`${name} is beyond what a browser can send exactly; it is ${text}`, `parameter-${name}`);
  }
  return number;
}

function more(text) {
  if (!text.trim()) return {};
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new FormError(`Other parameters are not valid JSON: ${error.message}`, "more");
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) {
    throw new FormError("Other parameters must be a JSON object: name → value.", "more");
  }
  return found;
}

/** A word that a POSIX shell takes as it is, whatever it holds. */
export function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The request as a command; the key is left to a variable, so that it reaches neither clipboard nor history. */
export function curl(url, content, withKey) {
  const lines = [`curl${content.stream ? " -N" : ""} ${quoted(url)}`, "-H 'Content-Type: application/json'"];
  if (withKey) lines.push('-H "Authorization: Bearer $API_KEY"');
  lines.push(`-d ${quoted(JSON.stringify(content))}`);
  return lines.join(" \\\n  ");
}
