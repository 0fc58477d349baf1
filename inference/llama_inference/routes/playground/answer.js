// The answer as it comes: text for each sequence, and the figures that the page shows.

import { events } from "./events.js";

/** What the server refuses, in its own words; `param` names the parameter that is at fault, if one is. */
export class ServerError extends Error {
  constructor(status, failure, retryAfter) {
    const again = retryAfter ? ` Try again in ${retryAfter} s.` : "";
    super(`${failure?.message ?? `The server answered ${status}.`}${again}`);
    this.status = status;
    this.param = failure?.error?.param ?? null;
  }
}

/** Raise a `ServerError` unless the response is a success. */
export async function check(response) {
  if (response.ok) return;
  const failure = await response.json().catch(() => null); // a proxy's page: its status says enough
  throw new ServerError(response.status, failure, response.headers.get("retry-after"));
}

/** Read a response to its end. `show(index, text)` appends text to a sequence; returns the figures. */
export async function read(response, sent, show) {
  await check(response);
  const streamed = response.headers.get("content-type")?.startsWith("text/event-stream");
  return streamed ? await readStream(response, sent, show) : await readWhole(response, show);
}

async function readWhole(response, show) {
  const answer = await response.json();
  answer.data.forEach((text, index) => show(index, text));
  const { first_token_s: first, total_s: total, queued_s: queued } = answer.timings;
  return { ...ending(answer), first, rate: answer.usage.completion_tokens / (total - queued) };
}

async function readStream(response, sent, show) {
  let first = null;
  let last = null;
  let tokens = 0;
  let atFirst = 0;
  let end = {};
  for await (const { name, data } of events(response.body)) {
    if (data === "[DONE]") break;
    const event = JSON.parse(data);
    if (name === "error") throw new ServerError(response.status, event);
    if ("finish_reason" in event) {
      end = ending(event);
      continue;
    }
    last = performance.now();
    tokens += event.token_ids.length;
    if (first === null) [first, atFirst] = [last, tokens];
    show(event.index, event.text);
  }
  if (!("reason" in end)) throw new Error("The connection ended before the answer was complete.");
  // The first token took its own time: the rate is that of those after it.
  const rate = last > first ? (1000 * (tokens - atFirst)) / (last - first) : null;
  return { ...end, first: first === null ? null : (first - sent) / 1000, rate };
}

function ending({ usage, finish_reason: reasons }) {
  return { prompt: usage.prompt_tokens, output: usage.completion_tokens, reason: [...new Set(reasons)].join(", ") };
}
