// The study's page: consent, one set of three videos after the other, thanks. The server knows how far a person is, so a
// closed tab loses nothing; an answer is sent again, under the same key, until the server has confirmed it.
"use strict";
import { Player } from "./player.js";

const find = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const SIDES = { left: "A", right: "B" };
const PENDING = "realmaster-study-" + token.slice(0, 6);
let state = null, isSending = false, readyAt = 0, current = 0;

class Refused extends Error {}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Ask the server; what a lost connection or a busy server causes is tried again, what it refuses is not.
async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(path, { ...options, headers: { Authorization: "Bearer " + token, ...options.headers } });
      if (response.ok) { notify(""); return response; }
      if (response.status < 500 || response.status === 500) throw new Refused((await response.json().catch(() => ({}))).detail || "The study answered in a way this page does not know.");
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (attempt > 0) notify("The connection is lost. Nothing you answered is gone: we keep trying.");
    await wait(Math.min(1000 * 1.6 ** attempt, 8000));
  }
}

async function askState(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await ask(path, options)).json();
}

async function fetchVideo(name, onShare) {
  for (let attempt = 0; ; attempt += 1) {
    const response = await ask("api/videos/" + name);
    const total = Number(response.headers.get("Content-Length")) || 0, parts = []; // a proxy may leave the length out
    let count = 0;
    try {
      for (const reader = response.body.getReader(); ;) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        count += value.length;
        if (total) onShare(Math.min(count / total, 1));
      }
      return new Blob(parts, { type: "video/mp4" });
    } catch { /* broken off in the middle: once more from the start */ }
    await wait(Math.min(1000 * 1.6 ** attempt, 8000));
  }
}

// What the browser keeps until the server has confirmed it; a browser that keeps nothing is fine too.
function remember(answer) {
  try {
    if (answer) localStorage.setItem(PENDING, JSON.stringify(answer));
    else localStorage.removeItem(PENDING);
  } catch { /* storage is switched off */ }
}

function remembered() {
  try { return JSON.parse(localStorage.getItem(PENDING)); } catch { return null; }
}

function notify(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

function show(id) {
  document.body.dataset.ready = "";
  for (const part of ["message", "consent", "trial"]) find(part).hidden = part !== id;
}

function say(title, text) {
  find("message-title").textContent = title;
  find("message-text").textContent = text;
  show("message");
}

const videos = ["left", "original", "right"].map(find);
const player = new Player(videos, {
  progress(share) { find("loaded").value = share; },
  ready() {
    const ratio = videos[1].videoWidth / videos[1].videoHeight || 16 / 9;
    find("trial").style.setProperty("--ratio", ratio);
    find("stage").classList.toggle("tall", ratio < 1);
    find("loading").hidden = true;
    find("play").disabled = find("restart").disabled = false;
    readyAt = performance.now();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.play();
    if (state.next) player.prefetch([state.next.left, state.next.original, state.next.right], fetchVideo);
    settle();
  },
  state(isPlaying) { find("play").textContent = isPlaying ? "Pause" : "Play"; },
  end() { settle(); },
  fail() { say("The videos do not play here", "This browser cannot play them (H.264 in MP4). Please open the same link in another browser."); },
});

function choices() {
  const data = new FormData(find("answers"));
  return Object.fromEntries(state.questions.map((question) => [question.name, data.get(question.name)]).filter(([, side]) => side));
}

// What is still missing before the next set, and the button's state.
function settle() {
  const given = choices(), missing = state.questions.length - Object.keys(given).length;
  const isWatched = !state.watch_fully || player.plays > 0;
  let hint = "";
  if (isSending) hint = "Saving your answers";
  else if (!player.isReady) hint = "The videos are loading";
  else if (!isWatched) hint = "Watch to the end once";
  else if (missing) hint = missing === 1 ? "One question is left" : missing + " questions are left";
  find("hint").textContent = hint;
  find("next").disabled = Boolean(hint);
  [...find("questions").children].forEach((field, index) => field.classList.toggle("current", index === current));
}

function drawQuestions() {
  find("questions").replaceChildren(...state.questions.map((question, index) => {
    const field = document.createElement("fieldset"), legend = document.createElement("legend"), text = document.createElement("b");
    text.textContent = question.text;
    legend.append(text);
    const group = document.createElement("div");
    group.className = "choices";
    for (const [side, letter] of Object.entries(SIDES)) {
      const label = document.createElement("label"), input = document.createElement("input"), box = document.createElement("span");
      label.className = "choice";
      Object.assign(input, { type: "radio", name: question.name, value: side });
      input.addEventListener("change", () => { current = index; advance(); });
      input.addEventListener("focus", () => { current = index; settle(); });
      box.textContent = letter;
      label.append(input, box);
      group.append(label);
    }
    field.append(legend, group);
    return field;
  }));
}

// Move to the first question without an answer, as far as there is one.
function advance() {
  const given = choices(), open = state.questions.findIndex((question) => !given[question.name]);
  if (open >= 0) current = open;
  settle();
}

function render() {
  document.title = state.title;
  if (!state.consented) {
    find("title").textContent = state.title;
    find("consent-text").replaceChildren(...state.consent.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
    find("contact").textContent = state.contact;
    show("consent");
    return;
  }
  if (!state.trial) {
    player.pause();
    remember(null);
    say("You are done", state.thanks);
    return;
  }
  current = 0;
  find("trial").dataset.done = state.done;
  find("count").textContent = `Set ${state.done + 1} of ${state.total}`;
  find("progress").max = state.total;
  find("progress").value = state.done;
  find("loading").hidden = false;
  find("loaded").value = 0;
  find("play").disabled = find("restart").disabled = true;
  show("trial");
  drawQuestions();
  const shown = state.trial;
  player.load([shown.left, shown.original, shown.right], fetchVideo).catch((error) => {
    if (error instanceof Refused) say("This set cannot be shown", error.message);
    else player.on.fail();
  });
  settle();
  find("count").focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function send(answer) {
  isSending = true;
  remember(answer); // if the tab closes before the answer arrives, the next one sends it
  settle();
  try {
    state = await askState("api/answers", answer);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    state = await askState("api/me"); // another tab was faster: go on where the server says
  }
  remember(null);
  isSending = false;
  render();
}

find("answers").addEventListener("submit", (event) => {
  event.preventDefault();
  if (isSending || find("next").disabled) return; // a second click while the first is under way
  player.pause();
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  send({ trial: state.trial.id, key, choices: choices(), seconds: (performance.now() - readyAt) / 1000, plays: player.plays })
    .catch((error) => say("Something went wrong", error.message));
});

find("agree").addEventListener("change", () => { find("start").disabled = !find("agree").checked; });
find("consent-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  find("start").disabled = true;
  try {
    state = await askState("api/consent", {});
    render();
  } catch (error) { say("The study cannot begin", error.message); }
});

const toggle = () => (player.wanted ? player.pause() : player.play());
find("play").addEventListener("click", toggle);
find("restart").addEventListener("click", () => player.restart());
find("stage").addEventListener("click", toggle);

document.addEventListener("keydown", (event) => {
  if (find("trial").hidden || isSending || event.altKey || event.ctrlKey || event.metaKey) return;
  const fields = [...find("questions").children], last = fields.length - 1;
  const onButton = document.activeElement instanceof HTMLButtonElement;
  if (event.key === " " && !onButton) toggle();
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const input = fields[current].querySelector(`input[value=${event.key === "ArrowLeft" ? "left" : "right"}]`);
    input.checked = true;
    advance();
    fields[current].querySelector("input:checked, input")?.focus();
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    current = Math.min(last, Math.max(0, current + (event.key === "ArrowUp" ? -1 : 1)));
    fields[current].querySelector("input:checked, input").focus();
    settle();
  } else if (event.key === "Enter" && !onButton) find("answers").requestSubmit();
  else if (event.key === "r" || event.key === "R") player.restart();
  else return;
  event.preventDefault();
});

addEventListener("hashchange", () => location.reload());

(async () => {
  if (!token) { say("Open your own link", "This study is by invitation: please open the link exactly as you were given it."); return; }
  try {
    state = await askState("api/me");
    const pending = remembered();
    if (pending && state.trial && pending.trial === state.trial.id) await send(pending);
    else render();
  } catch (error) { say("This link does not open the study", error.message); }
})();
