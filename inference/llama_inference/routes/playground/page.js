// The page: what the server says of itself → the form; the form → a request; its answer → the page.

import { check, read, ServerError } from "./answer.js";
import { body, curl, FormError } from "./request.js";

const NAMES = [
  "max_new_tokens", "temperature", "top_p", "top_k", "num_beams", "do_sample", "seed", "return_full_text",
];
const at = (id) => document.getElementById(id);
const url = (path) => new URL(path, document.baseURI).href; // relative: the page may stand behind a prefix
let schemas = {};
let beams = ""; // the default of num_beams, for what is no stream
let running = null; // the AbortController of the request under way

function headers() {
  const key = at("key").value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function get(path) {
  const response = await fetch(url(path), { headers: headers() });
  await check(response);
  return response.json();
}

/** Build the fields out of the server's own description, with this deployment's defaults and maximums. */
async function describe() {
  const [info, api] = await Promise.all([get("info"), get("openapi.json")]);
  schemas = api.paths["/predict"].post.requestBody.content["application/json"].schema.properties;
  const bounds = info.max_context ? `, ${info.max_context} tokens of context` : "";
  at("model").textContent = `${info.name}: ${info.model}${bounds} (${info.dtype ?? info.phase})`;
  document.title = `${info.name} – playground`;
  at("chat").disabled = info.chat_template === false;
  at("parameters").replaceChildren(...NAMES.map((name) => field(name, info)));
  beams = at("parameter-num_beams").placeholder;
  showBeams();
}

/** A stream has one beam unless the request says otherwise, and then it cannot be had. */
function showBeams() {
  const input = at("parameter-num_beams");
  if (input) input.placeholder = at("stream").checked ? "1 for a stream" : beams;
}

function field(name, info) {
  const schema = schemas[name];
  const label = make("label", { htmlFor: `parameter-${name}`, textContent: name });
  const input = schema.type === "boolean" ? choice(info.defaults[name]) : numeric(schema, info, name);
  input.id = `parameter-${name}`;
  input.title = schema.description;
  input.setAttribute("aria-description", schema.description);
  const box = make("div", {});
  box.append(label, input);
  return box;
}

function numeric(schema, { defaults, maximums }, name) {
  const fallback = name in defaults ? String(defaults[name]) : "none";
  const input = make("input", { type: "text", placeholder: fallback, autocomplete: "off" });
  input.inputMode = schema.type === "integer" ? "numeric" : "decimal";
  if (name in maximums) input.placeholder += `, at most ${maximums[name]}`;
  return input;
}

function choice(fallback) {
  const select = make("select", {});
  const unset = fallback === undefined ? "model's own" : `default: ${fallback}`;
  for (const [value, text] of [["", unset], ["true", "true"], ["false", "false"]]) {
    select.append(make("option", { value, textContent: text }));
  }
  return select;
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

function content() {
  const inputs = NAMES.map((name) => [name, at(`parameter-${name}`)]).filter(([, input]) => input);
  const form = {
    prompt: at("prompt").value,
    chat: at("chat").checked && !at("chat").disabled,
    stream: at("stream").checked,
    values: Object.fromEntries(inputs.map(([name, input]) => [name, input.value.trim()])),
    more: at("more").value,
  };
  return body(form, schemas);
}

async function send() {
  if (running) return;
  clear();
  try {
    const request = content();
    busy(new AbortController());
    const sent = performance.now();
    const response = await fetch(url("predict"), {
      method: "POST",
      headers: { "content-type": "application/json", ...headers() },
      body: JSON.stringify(request),
      signal: running.signal,
    });
    figures(await read(response, sent, show));
    at("status").textContent = "Done.";
  } catch (error) {
    if (error.name === "AbortError") at("status").textContent = "Stopped.";
    else fail(error);
  } finally {
    idle();
  }
}

function busy(controller) {
  running = controller;
  at("send").disabled = true;
  at("stop").disabled = false;
  at("outputs").ariaBusy = "true"; // read aloud once, when it is complete
  at("status").textContent = "Waiting for the first token …";
}

function idle() {
  running = null;
  const focused = document.activeElement === at("stop");
  at("send").disabled = false;
  at("stop").disabled = true;
  at("outputs").ariaBusy = "false";
  if (focused) at("send").focus();
}

function clear() {
  at("outputs").replaceChildren();
  at("error").hidden = at("figures").hidden = true;
  at("status").textContent = "";
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

function show(index, text) {
  const outputs = at("outputs");
  while (outputs.children.length <= index) outputs.append(make("pre", {}));
  outputs.children[index].append(text);
  if (running) at("status").textContent = "Generating …";
}

function figures({ first, rate, prompt, output, reason }) {
  at("first").textContent = first === null ? "–" : `${first.toFixed(first < 1 ? 3 : 2)} s`;
  at("rate").textContent = rate === null || !Number.isFinite(rate) ? "–" : rate.toFixed(1);
  at("tokens").textContent = `${prompt} + ${output}`;
  at("reason").textContent = reason;
  at("figures").hidden = false;
}

function fail(error) {
  at("status").textContent = "";
  at("error").textContent = error instanceof TypeError ? `The server cannot be reached: ${error.message}.` : error.message;
  at("error").hidden = false;
  if (error instanceof ServerError && (error.status === 401 || error.status === 403)) {
    at("key-field").hidden = false;
    at("key").focus();
    return;
  }
  const named = error instanceof FormError ? at(error.field) : culprit(error.param);
  if (named) {
    named.setAttribute("aria-invalid", "true");
    named.focus();
  }
}

function culprit(param) {
  if (!param) return null;
  param = param.split(/[.[]/)[0]; // of a place within a value, the value's field
  if (param === "messages" || param === "prompt") return at("prompt");
  return at(`parameter-${param}`) ?? (param === "stream" ? at("stream") : at("more"));
}

async function copy() {
  clear();
  try {
    at("curl").value = curl(url("predict"), content(), at("key").value.trim() !== "");
  } catch (error) {
    fail(error);
    return;
  }
  at("curl-field").hidden = false;
  try {
    await navigator.clipboard.writeText(at("curl").value);
    at("status").textContent = "Copied.";
  } catch {
    // Without HTTPS a page may not write to the clipboard.
    at("curl").focus();
    at("curl").select();
    at("status").textContent = "Selected: copy it with Ctrl+C.";
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
at("stop").addEventListener("click", () => running?.abort());
at("stream").addEventListener("change", showBeams);
at("copy").addEventListener("click", copy);
at("key").addEventListener("change", () => schemas.prompt || describe().catch(fail));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  }
});
describe().catch((error) => {
  at("model").textContent = "";
  fail(error);
});
