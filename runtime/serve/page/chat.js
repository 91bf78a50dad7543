// The chat page: talks to /v1 of the server that it came from.

const $ = (id) => document.getElementById(id);
const [list, input, send, speed, hint] = ["conversation", "input", "send", "speed", "hint"].map($);

/** Turns that went well, as the API takes them. */
let messages = [];
/** Cancels the answer that is being written. */
let running;

const HINTS = {
  chat: "Ask something to begin.",
  text: "Write a beginning, and the model goes on.",
};

const mode = () => document.querySelector("input[name=mode]:checked").value;

/** A turn on the page; gives what its text is set with. */
function show(kind, text = "") {
  const item = document.createElement("li");
  item.className = kind;
  const body = document.createElement("span");
  body.textContent = text;
  item.append(body);
  list.append(item);
  hint.textContent = "";
  item.scrollIntoView({ block: "end" });
  return { item, body };
}

function note(item, text) {
  const small = document.createElement("small");
  small.textContent = text;
  item.append(small);
  item.scrollIntoView({ block: "end" });
}

/** The settings as fields of a request; what is left open is left to the server. */
function settings() {
  const fields = { temperature: Number($("temperature").value), top_p: Number($("top_p").value) };
  for (const id of ["max_tokens", "seed"]) if ($(id).value !== "") fields[id] = Number($(id).value);
  return fields;
}

function headers() {
  const key = $("key").value;
  return { "content-type": "application/json", ...(key === "" ? {} : { authorization: `Bearer ${key}` }) };
}

/** The chunks of a stream, each as soon as it is there. */
async function* stream(path, body, signal) {
  const request = { ...body, ...settings(), model: $("model").textContent, stream: true };
  request.stream_options = { include_usage: true };
  const response = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(request), signal });
  if (!response.ok) throw new Error((await response.json()).error.message);
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      yield chunk;
    }
  }
}

/** Shows an answer while it is written. Gives its text. */
async function answer(path, body, { item, body: shown }, textOf) {
  running = new AbortController();
  send.textContent = "Stop";
  item.classList.add("busy");
  let text = "";
  let usage;
  let [first, tokens] = [undefined, 0];
  try {
    for await (const chunk of stream(path, body, running.signal)) {
      usage = chunk.usage ?? usage;
      const piece = chunk.choices[0] === undefined ? "" : textOf(chunk.choices[0]);
      if (piece === "") continue;
      const atEnd =
        list.parentElement.scrollHeight - list.parentElement.scrollTop - list.parentElement.clientHeight < 40;
      text += piece;
      shown.append(piece);
      if (atEnd) item.scrollIntoView({ block: "end" });
      first ??= performance.now();
      speed.textContent = rate(tokens++, first);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      item.classList.add("wrong");
      note(item, error.message);
    }
  } finally {
    item.classList.remove("busy");
    running = undefined;
    send.textContent = "Send";
  }
  if (usage !== undefined) {
    const { prompt_tokens: prompt, completion_tokens: written } = usage;
    note(item, [`${prompt} + ${written} tokens`, rate(written - 1, first)].filter(Boolean).join(" · "));
  }
  return text;
}

/** Tokens per second since the first one; nothing while there is nothing to measure. */
function rate(tokens, since) {
  const seconds = (performance.now() - since) / 1000;
  return tokens > 0 && seconds > 0 ? `${(tokens / seconds).toFixed(1)} tokens/s` : "";
}

async function chat(text) {
  show("user", text);
  const asked = [...messages, { role: "user", content: text }];
  const place = show("assistant");
  const said = await answer("v1/chat/completions", { messages: asked }, place, ({ delta }) => delta.content ?? "");
  if (said !== "") messages = [...asked, { role: "assistant", content: said }];
}

async function continueText(text) {
  const place = show("text");
  const given = document.createElement("span");
  given.className = "given";
  given.textContent = text;
  place.item.prepend(given);
  const body = { prompt: text, max_tokens: 200 };
  await answer("v1/completions", body, place, (choice) => choice.text);
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running !== undefined) {
    running.abort();
    return;
  }
  const text = input.value;
  if (text.trim() === "") return;
  input.value = "";
  await (mode() === "chat" ? chat(text) : continueText(text));
  input.focus();
});

input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});

function clear() {
  running?.abort();
  messages = [];
  list.replaceChildren();
  speed.textContent = "";
  hint.textContent = HINTS[mode()];
  input.placeholder = mode() === "chat" ? "Say something" : "It was a dark and stormy night";
}

$("clear").addEventListener("click", clear);
for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", clear);

for (const output of document.querySelectorAll("output")) {
  const slider = $(output.htmlFor[0]);
  const tell = () => (output.textContent = Number(slider.value).toFixed(2));
  slider.addEventListener("input", tell);
  tell();
}

$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});

/** What the server says about its model. */
async function begin() {
  const { model, talks, defaults } = await (await fetch("health")).json();
  $("model").textContent = model;
  document.title = model;
  if (!talks) document.querySelector("input[value=text]").checked = true;
  for (const [id, value] of Object.entries(defaults)) {
    $(id).value = value;
    $(id).dispatchEvent(new Event("input"));
  }
  clear();
}

begin().catch((error) => (hint.textContent = `The server does not answer: ${error.message}`));
