"use strict";
// Everything that is shown goes in as text, never as markup: it comes from a model and from whoever asks.

const find = (id) => document.getElementById(id);
let asking = null;

function add(parent, tag, text = "", kind = "") {
  const element = parent.appendChild(document.createElement(tag));
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function showQuestion(element, question, numbers) {
  const characters = Array.from(question); // the server counts characters, and strings here count halves
  element.textContent = "";
  let end = 0;
  for (const number of numbers) {
    element.append(characters.slice(end, number.start).join(""));
    const marked = add(element, "mark", characters.slice(number.start, number.end).join(""), number.used ? "" : "unused");
    marked.title = number.used ? "used" : "not used";
    end = number.end;
  }
  element.append(characters.slice(end).join(""));
}

function showSteps(article, steps) {
  const table = add(article, "table");
  let part = "";
  for (const step of steps) {
    if (part !== `${step.part}`) {
      part = `${step.part}`;
      const head = add(add(table, "tr"), "th", step.expert || "");
      head.colSpan = 3;
      head.scope = "colgroup";
    }
    const row = add(table, "tr", "", step.fault ? "fault" : "");
    add(row, "td", `${step.step}`);
    add(row, "td", step.fault ? `${step.said}: ${step.fault}` : step.said);
    add(row, "td", Object.values(step.values).join(", "), "value");
  }
}

function showAnswer(article, content, found) {
  showQuestion(article.querySelector(".question"), found.question, found.numbers);
  const words = content.slice(content.lastIndexOf("\n```\n") + 1).replace(/^```\n+/, "");
  if (found.steps.length) showSteps(article, found.steps);
  if (found.answer !== null) add(article, "p", `= ${found.answer}${found.split ? ", perhaps" : ""}`, "answer");
  add(article, "p", words, found.answer === null ? "answer none" : "note");
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let waiting = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split("\n\n");
    waiting = lines.pop();
    for (const line of lines) if (line !== "data: [DONE]") yield JSON.parse(line.slice("data: ".length));
  }
}

async function answer(article, question, samples, signal) {
  const body = { messages: [{ role: "user", content: question }], stream: true, samples };
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("/v1/chat/completions", { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.ok) throw new Error((await response.json()).error.message);
  const trace = add(article, "pre");
  let content = "", found = null;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const [choice] = event.choices;
    content += choice.delta.content || "";
    found = choice.mlx_trace || found;
    trace.textContent = found ? found.trace : content.replace(/^```yaml\n/, "");
  }
  if (!found) throw new Error("the server went away");
  if (!found.trace) trace.remove();
  showAnswer(article, content, found);
}

async function ask(event) {
  event.preventDefault();
  const question = find("question").value.trim();
  if (!question || asking) return;
  asking = new AbortController();
  find("ask").disabled = true;
  find("stop").hidden = false;
  const article = add(find("conversation"), "article");
  add(article, "p", question, "question");
  try {
    await answer(article, question, Number(find("samples").value), asking.signal);
    find("question").value = "";
  } catch (error) {
    add(article, "p", error.name === "AbortError" ? "stopped" : error.message, "answer none");
  } finally {
    asking = null;
    find("ask").disabled = false;
    find("stop").hidden = true;
    article.scrollIntoView({ block: "nearest" });
    find("question").focus();
  }
}

find("form").addEventListener("submit", ask);
find("stop").addEventListener("click", () => asking && asking.abort());
find("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) ask(event);
});
fetch("/v1/models").then((response) => response.json()).then((models) => {
  find("model").textContent = models.data[0].id;
});
