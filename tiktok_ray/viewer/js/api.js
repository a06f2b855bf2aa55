// The service: its answers and its stream of events. Where it wants a token, the browser has asked
// for it when this page was loaded, and sends it along.

/** What the service answered instead of the thing wanted; `problem` is its RFC 9457 body. */
export class Refused extends Error {
  constructor(status, problem) {
    super([problem?.detail ?? problem?.title ?? `the service responded with ${status}`, problem?.advice].filter(Boolean).join(" – "));
  }
}

/** A response of the service. Throws `Refused` for every status but 2xx. */
export async function ask(path, options = {}) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  const text = await response.text();
  let problem = null;
  if (response.headers.get("content-type")?.includes("json")) problem = JSON.parse(text);
  throw new Refused(response.status, problem);
}

export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

const RETRY_MS = 1000;

/** States in which a job does not change any more. */
export const ENDED = ["done", "failed", "cancelled", "quarantined"];

/**
 * Events of a job, `{id, kind, data}`, from the first to its end. A stream that stops before is
 * taken up again after the last event that came.
 */
export async function* follow(path, signal) {
  let last = "";
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
      const response = await ask(path, { headers, signal });
      for await (const event of parsed(response.body)) {
        if (event.id) last = event.id;
        yield event;
        if (event.kind === "job" && ENDED.includes(event.data.state)) return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Events of a stream in the format of server-sent events; their data is JSON. */
async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text = (text + value).replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = eventOf(block);
      if (event) yield event;
    }
  }
}

function eventOf(block) {
  const fields = { data: [] };
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
    if (name === "data") fields.data.push(value);
    else if (name) fields[name] = value;
  }
  return fields.data.length ? { id: fields.id, kind: fields.event ?? "message", data: JSON.parse(fields.data.join("\n")) } : null;
}
