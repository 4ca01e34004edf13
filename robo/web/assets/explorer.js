"use strict";
const token = document.querySelector("meta[name=token]").content;
const element = (id) => document.getElementById(id);
const state = {episodes: [], shown: [], scores: null, bookmarks: [], current: -1, description: null,
  step: 0, steps: 1, playing: false, charts: [], legends: [], fps: 10, drawn: 0, asked: 0};
const views = new Views(element("views"), (why) => say(why));
const descriptions = new Map();

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask(path, body = null) {
  const options = body === null ? {} : {method: "POST", body: JSON.stringify(body),
    headers: {"X-Token": token, "Content-Type": "application/json"}};
  const reply = await fetch(path, options);
  const text = await reply.text();
  if (!reply.ok) {
    let reason = text;
    try { reason = JSON.parse(text).error || text; } catch { /* a plain sentence */ }
    throw new Error(reason);
  }
  return JSON.parse(text);
}

function say(text, link = null) {
  const box = element("message");
  box.textContent = text;
  if (link) {
    const anchor = make("a", link.name);
    anchor.href = link.href;
    box.append(" ", anchor);
  }
}

// ---------------------------------------------------------------- the list

function scoreOf(index) {
  const measure = element("measure").value;
  if (!state.scores) return null;
  return measure === "return" ? state.scores.returns[index] : state.scores.scores[measure][index];
}

function wanted(episode) {
  const words = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${episode.index} ${episode.task} ${episode.instruction} ${episode.kind} seed ` +
    `${episode.seed}`.toLowerCase();
  if (!words.every((word) => text.toLowerCase().includes(word))) return false;
  const outcome = element("outcome").value;
  if (outcome && (outcome === "success") !== episode.success) return false;
  const score = scoreOf(episode.index);
  const low = element("low").value, high = element("high").value;
  if (low !== "" && !(score !== null && score >= Number(low))) return false;
  if (high !== "" && !(score !== null && score <= Number(high))) return false;
  const least = Number(element("disagreement").value);
  const differs = state.scores ? state.scores.disagreement[episode.index] : null;
  if (least > 0 && !(differs !== null && differs >= least)) return false;
  return !element("marked").checked || state.bookmarks.some((b) => b.episode === episode.index);
}

function sorted(episodes) {
  const by = element("sort").value;
  const missing = -Infinity;
  const key = {
    index: (e) => -e.index, steps: (e) => e.steps,
    score: (e) => scoreOf(e.index) ?? missing,
    "-score": (e) => -(scoreOf(e.index) ?? Infinity),
    disagreement: (e) => (state.scores && state.scores.disagreement[e.index]) ?? missing,
  }[by];
  return [...episodes].sort((a, b) => key(b) - key(a) || a.index - b.index);
}

function row(episode) {
  const item = make("li");
  item.id = `episode-${episode.index}`;
  item.setAttribute("role", "option");
  item.dataset.index = episode.index;
  item.append(make("span", `#${episode.index}`, "muted"),
    make("span", episode.kind || episode.instruction || episode.task, "name"),
    make("span", episode.success ? "\u2713 success" : "\u2717 failure",
      episode.success ? "good" : "bad"), make("span", "", "more"));
  return item;
}

const rows = new Map();

function refreshRow(episode) {
  const item = rows.get(episode.index);
  const score = scoreOf(episode.index);
  const differs = state.scores && state.scores.disagreement[episode.index];
  const damaged = state.scores && state.scores.damaged[episode.index];
  const marks = state.bookmarks.filter((b) => b.episode === episode.index).length;
  const parts = [`${episode.steps} steps`];
  if (damaged) parts.push("cannot be read");
  if (score !== null) parts.push(`score ${number(score)}`);
  if (differs !== null && differs !== undefined) parts.push(`disagreement ${differs.toFixed(2)}`);
  if (marks) parts.push(marks === 1 ? "1 bookmark" : `${marks} bookmarks`);
  item.lastChild.textContent = parts.join(" \u00b7 ");
  item.setAttribute("aria-selected", String(episode.index === state.current));
}

function refreshList() {
  element("disagreement-value").textContent = Number(element("disagreement").value).toFixed(2);
  state.shown = sorted(state.episodes.filter(wanted));
  const list = element("episodes");
  const ids = state.shown.map((e) => e.index).join();
  for (const episode of state.shown) refreshRow(episode);
  if (list.dataset.ids !== ids) {
    list.dataset.ids = ids;
    list.replaceChildren(...state.shown.map((e) => rows.get(e.index)));
  }
  const done = state.scores ? state.scores.done : 0;
  const left = done < state.episodes.length ? `, ${done} scored so far` : "";
  element("count").textContent = `${state.shown.length} of ${state.episodes.length} episodes${left}`;
}

function measures(rewards) {
  const options = [["return", "environment's return"], ...rewards.map((r) => [r, `return of ${r}`])];
  element("measure").replaceChildren(...options.map(([value, text]) => {
    const option = make("option", text);
    option.value = value;
    return option;
  }));
}

async function pollScores() {
  try {
    state.scores = await ask("/api/scores");
  } catch {
    say("The server cannot be reached; start robo explore again and reload.");
    return;
  }
  refreshList();
  const failed = Object.entries(state.scores.failures);
  if (failed.length) say(failed.map(([name, why]) => `${name}: ${why}`).join(" "));
  if (state.scores.done < state.episodes.length) setTimeout(pollScores, 500);
}

// ---------------------------------------------------------------- one episode

function describe(index) {
  if (!descriptions.has(index)) {
    const promise = ask(`/api/episode/${index}`);
    descriptions.set(index, promise);
    promise.catch(() => descriptions.delete(index));
    if (descriptions.size > 60) descriptions.delete(descriptions.keys().next().value);
  }
  return descriptions.get(index);
}

async function select(index, step = 0) {
  if (!rows.has(index)) return;
  const call = ++state.asked;
  state.current = index;
  for (const [number, item] of rows) item.setAttribute("aria-selected", String(number === index));
  const list = element("episodes");
  list.setAttribute("aria-activedescendant", `episode-${index}`);
  rows.get(index).scrollIntoView({block: "nearest"});
  let description;
  try {
    description = await describe(index);
    await views.load(index, description, step);
  } catch (error) {
    if (call === state.asked) say(`Episode ${index}: ${error.message}`);
    return;
  }
  if (call !== state.asked) return;
  state.description = description;
  state.steps = description.steps;
  views.show(index, description);
  header(state.episodes[index]);
  element("timeline").max = description.steps;
  element("clip-first").value = 0;
  element("clip-last").value = description.steps;
  for (const id of ["clip-first", "clip-last"]) element(id).max = description.steps;
  plots(description);
  eventList(description.events);
  seek(Math.min(step, description.steps), true);
  document.body.dataset.ready = String(index);
  views.ahead(index, description);
  const at = state.shown.findIndex((e) => e.index === index);
  const next = state.shown[at + 1];
  if (!next) return;
  describe(next.index).then(async (found) => {
    await views.load(next.index, found);
    views.ahead(next.index, found);
  }).catch(() => {});
}

function header(episode) {
  const seed = episode.seed === null ? "" : `, seed ${episode.seed}`;
  element("task").textContent = `${episode.task}, episode ${episode.index}${seed}` +
    (episode.kind ? `, ${episode.kind}` : "");
  element("instruction").textContent = episode.instruction || episode.task;
  const pill = element("outcome-now");
  pill.textContent = episode.success ? "success" : episode.terminated ? "failed" : "time-out";
  pill.className = `pill ${episode.success ? "good" : "bad"}`;
}

function legend(entries) {
  const box = make("div", "", "legend");
  const cells = entries.map(({name, colour, line, values, shift}) => {
    const entry = make("span");
    const swatch = make("i", "", line ? "line" : "");
    swatch.style.background = colour;
    const value = make("span", "", "value");
    value.style.color = colour;
    entry.append(swatch, name, " ", value);
    box.append(entry);
    return {value, values, shift};
  });
  state.legends.push(...cells);
  return box;
}

function plot(title, note, options, entries, wide) {
  const box = make("div", "", wide ? "plot wide" : "plot");
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${title}: ${entries.map((e) => e.name).join(", ")}`);
  box.append(make("h3", title), legend(entries), canvas);
  if (note) box.append(make("p", note, "note"));
  const chart = new Chart(canvas, {...options, steps: state.steps, onScrub: (s) => seek(s)});
  state.charts.push(chart);
  return box;
}

function plots(description) {
  for (const chart of state.charts) chart.close();
  state.charts = [];
  state.legends = [];
  const boxes = [], lines = [], seen = new Set();
  let hops = null;
  const rewards = Object.entries(description.rewards);
  for (const [name, reward] of rewards) {
    for (const [curve, values] of Object.entries(reward.curves)) {
      const own = curve === "potential" && rewards.length > 1 ? `${curve} of ${name}` : curve;
      if (seen.has(own)) continue;
      seen.add(own);
      lines.push({name: own, values, colour: colour(lines.length), width: lines.length ? 2 : 3});
      if (reward.hops && !hops) hops = {...reward.hops, heights: values};
    }
  }
  if (lines.length) {
    const note = hops ? `Triangles: ${hops.name}, up for progress, down for regress.` : "";
    boxes.push(plot("progress and potential", note, {lines, hops, range: [0, 1]},
      lines.map((l) => ({...l, line: true, shift: 0})), true));
  }
  rewards.forEach(([name, reward]) => boxes.push(rewardPlot(name, reward)));
  for (const [name, why] of Object.entries(description.failures))
    boxes.push(silentPlot(name, why));
  element("plots").replaceChildren(...boxes);
  element("clip-reward").replaceChildren(...[["", "all"], ...rewards.map(([n]) => [n, n])].map(
    ([value, text]) => { const o = make("option", text); o.value = value; return o; }));
  for (const chart of state.charts) chart.render();
}

function silentPlot(name, why) {
  const box = make("div", "", "plot");
  box.append(make("h3", `${name}: not scored`), make("p", why, "note"));
  return box;
}

// What step t paid is known at state t + 1: values are shifted by one.
function rewardPlot(name, reward) {
  const terms = Object.entries(reward.terms).map(([term, values], i) => ({
    name: term, values, colour: colour(i), line: !reward.stacked.includes(term), shift: 1}));
  const bars = terms.filter((term) => !term.line);
  const lines = terms.filter((term) => term.line).map((term) => (
    {...term, values: [null, ...term.values], held: false}));
  const total = {name: "total", values: reward.total, colour: TOTAL, shift: 1};
  const stacked = stackBars(bars.length ? bars : [total], state.steps);
  const sum = reward.total.reduce((a, b) => a + (b || 0), 0);
  const note = lines.length
    ? (bars.length ? "Lines are terms that are not part of the sum."
      : "The terms do not add up to the total: bars are the total, lines the terms.") : "";
  return plot(`${name}: reward per step, ${number(sum)} in all`, note,
    {bars: stacked, lines}, [total, ...terms], false);
}

function eventList(events) {
  element("event-list").replaceChildren(...events.map((event) => {
    const item = make("li");
    const button = make("button", `${event.name} ${event.step}`, event.kind);
    button.addEventListener("click", () => seek(event.step));
    item.append(button);
    return item;
  }));
  drawRail();
}

function drawRail() {
  const canvas = element("events"), box = canvas.getBoundingClientRect();
  if (!state.description || box.width < 20) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = box.width * ratio;
  canvas.height = box.height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const at = (step) => 8 + step / state.steps * (box.width - 16);
  for (const event of state.description.events) {
    pen.fillStyle = EVENT_COLOURS[event.kind];
    pen.beginPath(); pen.arc(at(event.step), 6, 4.5, 0, 2 * Math.PI); pen.fill();
  }
  for (const mark of state.bookmarks.filter((b) => b.episode === state.current)) {
    pen.fillStyle = "#ebeff5";
    pen.fillRect(at(mark.step) - 1.5, 0, 3, 12);
  }
}

// ---------------------------------------------------------------- time

let due = false;
// When the first episode was drawn, ms since the page was asked for.
let readyAt = null;

// Any number of calls between two pictures of the screen draw once.
function seek(step, force = false) {
  step = Math.max(0, Math.min(state.steps, Math.round(step)));
  if (step === state.step && !force) return;
  state.step = step;
  if (due) return;
  due = true;
  requestAnimationFrame(draw);
}

function draw() {
  due = false;
  const {step} = state;
  views.draw(step);
  for (const chart of state.charts) chart.move(step);
  for (const {value, values, shift} of state.legends) {
    const shown = values[step - shift];
    value.textContent = shown === undefined ? "" : number(shown);
  }
  const slider = element("timeline");
  slider.value = step;
  slider.setAttribute("aria-valuetext", `step ${step} of ${state.steps}`);
  element("clock").textContent = `step ${step} / ${state.steps}`;
  state.drawn += 1;
  if (readyAt === null && state.description) readyAt = performance.now();
}

function play(on) {
  state.playing = on;
  const button = element("play");
  button.textContent = on ? "Pause" : "Play";
  button.setAttribute("aria-pressed", String(on));
  if (!on) return;
  if (state.step >= state.steps) seek(0);
  let before = performance.now(), owed = 0;
  const tick = (now) => {
    if (!state.playing) return;
    owed += (now - before) / 1000 * state.fps * Number(element("speed").value);
    before = now;
    if (owed >= 1) {
      seek(state.step + Math.floor(owed));
      owed -= Math.floor(owed);
    }
    if (state.step >= state.steps) play(false); else requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function nextEvent(direction) {
  const steps = [...new Set([...state.description.events.map((e) => e.step),
    ...state.bookmarks.filter((b) => b.episode === state.current).map((b) => b.step)])];
  const found = steps.filter((s) => direction * (s - state.step) > 0)
    .sort((a, b) => direction * (a - b))[0];
  if (found !== undefined) seek(found);
}

function neighbour(direction) {
  const at = state.shown.findIndex((e) => e.index === state.current);
  const next = state.shown[at < 0 ? 0 : at + direction];
  if (next) select(next.index);
}

// ---------------------------------------------------------------- bookmarks and clips

function showBookmarks() {
  element("bookmarks").replaceChildren(...state.bookmarks.map((mark) => {
    const item = make("li");
    const open = make("button", `#${mark.episode} step ${mark.step}` +
      (mark.note ? `: ${mark.note}` : ""));
    open.addEventListener("click", () => select(mark.episode, mark.step));
    const remove = make("button", "\u00d7", "remove");
    remove.setAttribute("aria-label", `remove bookmark of episode ${mark.episode} step ${mark.step}`);
    remove.addEventListener("click", () => keep({...mark, remove: true}));
    item.append(open, remove);
    return item;
  }));
  drawRail();
  refreshList();
}

async function keep(mark) {
  try {
    state.bookmarks = await ask("/api/bookmarks", mark);
    showBookmarks();
    say(mark.remove ? "Bookmark removed." : `Bookmarked episode ${mark.episode}, step ${mark.step}.`);
  } catch (error) { say(error.message); }
}

function bookmark() {
  keep({episode: state.current, step: state.step, note: element("note").value});
  element("note").value = "";
}

async function exportClip() {
  const first = Number(element("clip-first").value), last = Number(element("clip-last").value);
  say("Writing the clip \u2026");
  try {
    const {clip} = await ask("/api/clip", {episode: state.current, first, last,
      reward: element("clip-reward").value || null});
    say("Clip written:", {name: clip.split("/").pop(), href: clip});
  } catch (error) { say(error.message); }
}

// ---------------------------------------------------------------- input

const KEYS = {
  ArrowLeft: (event) => seek(state.step - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => seek(state.step + (event.shiftKey ? 10 : 1)),
  Home: () => seek(0), End: () => seek(state.steps),
  " ": () => play(!state.playing),
  j: () => neighbour(1), k: () => neighbour(-1),
  n: () => nextEvent(1), p: () => nextEvent(-1),
  b: () => bookmark(), e: () => exportClip(),
  "[": () => { element("clip-first").value = state.step; },
  "]": () => { element("clip-last").value = state.step; },
  "/": () => element("search").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.description) return;
  const target = event.target;
  const typing = target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing) { target.blur(); return; }
  if (typing || (event.key === " " && target.matches("button, summary, input"))) return;
  if (target.id === "disagreement" && /^(Arrow|Home|End)/.test(event.key)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!KEYS[key]) return;
  event.preventDefault();
  KEYS[key](event);
});

element("episodes").addEventListener("keydown", (event) => {
  const moves = {ArrowDown: 1, ArrowUp: -1};
  if (!(event.key in moves)) return;
  event.preventDefault();
  neighbour(moves[event.key]);
});
element("episodes").addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (item) select(Number(item.dataset.index));
});
element("timeline").addEventListener("input", (event) => seek(Number(event.target.value)));
element("first").addEventListener("click", () => seek(0));
element("back").addEventListener("click", () => seek(state.step - 1));
element("play").addEventListener("click", () => play(!state.playing));
element("forward").addEventListener("click", () => seek(state.step + 1));
element("last").addEventListener("click", () => seek(state.steps));
element("filters").addEventListener("input", refreshList);
element("filters").addEventListener("submit", (event) => event.preventDefault());
element("filters").addEventListener("reset", () => setTimeout(refreshList));
element("bookmark-form").addEventListener("submit", (event) => { event.preventDefault(); bookmark(); });
element("clip-form").addEventListener("submit", (event) => { event.preventDefault(); exportClip(); });
window.addEventListener("resize", drawRail);

async function start() {
  const [listing, bookmarks] = await Promise.all([ask("/api/store"), ask("/api/bookmarks")]);
  Object.assign(state, {episodes: listing.episodes, bookmarks, fps: listing.fps});
  element("store").textContent = listing.store;
  measures(listing.rewards);
  for (const episode of state.episodes) rows.set(episode.index, row(episode));
  showBookmarks();
  pollScores();
  if (state.episodes.length) await select(0);
}
start().catch((error) => say(error.message));
