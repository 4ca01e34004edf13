"use strict";
// Enough of a DOM to run the live page's script: what it touches exists, nothing more.
const fs = require("fs"), vm = require("vm");
const [script, states] = [fs.readFileSync(process.argv[2], "utf8"), JSON.parse(process.argv[3])];
const listeners = {}, posted = [], byId = {};
function make(tag) {
  return {
    tag, dataset: {}, style: {}, children: [], textContent: "", value: "", checked: true,
    addEventListener(name, call) { (this.on ||= {})[name] = call; },
    append(...parts) { this.children.push(...parts); },
    replaceChildren(...parts) { this.children = parts; },
    querySelector(name) { return this.children.find((child) => child.tag === name); },
    get firstElementChild() { return this.children[0] ||= make("div"); },
  };
}
const buttons = [..."xgspfirq"].map((key) => Object.assign(make("button"), {dataset: {key}}));
const document = {
  querySelector: (name) => name.startsWith("meta") ? {content: "token"}
    : buttons.find((button) => name.includes(`"${button.dataset.key}"`)) || null,
  querySelectorAll: () => buttons,
  getElementById: (id) => (byId[id] ||= make(id)),
  createElement: make,
  addEventListener: (name, call) => { listeners[name] = call; },
};
let polls = 0;
const fetch = async (url, options) => {
  if (options) { posted.push([options.headers["X-Token"], JSON.parse(options.body)]); }
  return {ok: true, json: async () => states[Math.min(polls++, states.length - 1)]};
};
const queue = [];
vm.runInNewContext(script, {document, fetch, setTimeout: (call) => queue.push(call),
  CSS: {escape: (text) => text}, Date, JSON, console});
(async () => {
  for (const _ of states) { await new Promise(setImmediate); if (queue.length) queue.shift()(); }
  await new Promise(setImmediate);
  listeners.keydown({key: "X", target: null});
  listeners.keydown({key: "z", target: null});
  buttons[2].on.click();
  byId.note.on.keydown({key: "Enter", target: Object.assign(byId.note, {value: "slipped"})});
  await new Promise(setImmediate);
  console.log(JSON.stringify({
    posted, trial: byId.trial.textContent, phase: byId.phase.textContent,
    kind: byId.phase.className, width: byId.bar.children[0].style.width,
    views: byId.views.children.map((figure) => figure.children[0].src.split("&")[0]),
    events: byId.events.children.map((item) => item.textContent),
  }));
})();
