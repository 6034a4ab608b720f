"use strict";
// Everything stands in the page already; filtering hides, sorting moves. The choice is kept in the address.
const find = (id) => document.getElementById(id);
const clips = JSON.parse(find("data").textContent).map((clip) => ({ ...clip, card: find("clip-" + clip.id) }));
const inputs = ["kept", "rule", "split", "sort", "order", "low", "high", "words"].map(find);
const number = (input) => (input.value === "" ? null : Number(input.value));

function shown(clip, score) {
  if (find("kept").value !== "" && clip.kept !== (find("kept").value === "1")) return false;
  if (find("rule").value !== "" && !clip.rules.includes(find("rule").value)) return false;
  if (find("split").value !== "" && clip.split !== find("split").value) return false;
  if (!find("words").value.toLowerCase().split(/\s+/).every((word) => clip.text.includes(word))) return false;
  const low = number(find("low")), high = number(find("high"));
  if (score === "id" || (low === null && high === null)) return true;
  const value = clip.scores[score];
  return value !== undefined && (low === null || value >= low) && (high === null || value <= high);
}

function compare(one, other, score, sign) {
  if (score === "id") return sign * (one.id < other.id ? -1 : 1);
  const a = one.scores[score], b = other.scores[score];
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1; // clips without it come last
  return sign * (a - b) || (one.id < other.id ? -1 : 1);
}

function arrange() {
  const score = find("sort").value, sign = Number(find("order").value);
  find("range").hidden = score === "id";
  let count = 0;
  for (const clip of clips) {
    clip.card.hidden = !shown(clip, score);
    count += !clip.card.hidden;
    clip.card.querySelectorAll("[data-score]").forEach((pair) => pair.classList.toggle("sorted", pair.dataset.score === score));
  }
  find("clips").append(...[...clips].sort((one, other) => compare(one, other, score, sign)).map((clip) => clip.card));
  find("count").textContent = `${count} of ${clips.length}`;
  const kept = new URLSearchParams(inputs.filter((input) => input.value !== "").map((input) => [input.id, input.value]));
  try { history.replaceState(null, "", "#" + kept); } catch { /* some browsers forbid it for files */ }
}

const asked = new URLSearchParams(location.hash.slice(1));
for (const input of inputs) {
  if (asked.has(input.id)) input.value = asked.get(input.id);
  if (input.tagName === "SELECT" && input.selectedIndex < 0) input.selectedIndex = 0;
  input.addEventListener("input", arrange);
}
arrange();
