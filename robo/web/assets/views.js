"use strict";
// Camera views from sheets of frames: a sheet is decoded when it is needed, then a frame is a copy.

// Pixels of the decoded sheets that are kept, of 4 bytes each. What is being shown always stays.
const MOST_PIXELS = 64e6;

// The sheet of a frame row, and where in it.
function place(plan, row) {
  const each = plan.columns * plan.rows, inside = row % each;
  return {number: Math.floor(row / each), left: inside % plan.columns * plan.width,
    top: Math.floor(inside / plan.columns) * plan.height};
}

function sheetPixels(plan, number) {
  const each = plan.columns * plan.rows;
  const rows = Math.ceil(Math.min(each, plan.count - number * each) / plan.columns);
  return plan.columns * plan.width * rows * plan.height;
}

// The newest frame row at a state: frames at a stride hold until the next.
function rowAt(frameStep, step) {
  let low = 0, high = frameStep.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frameStep[middle] <= step) low = middle + 1; else high = middle;
  }
  return Math.max(0, low - 1);
}

// Decoded sheets by address, the one that was not asked for longest first.
class Sheets {
  constructor(isShown, most = MOST_PIXELS) {
    Object.assign(this, {isShown, most, pixels: 0, kept: new Map()});
  }

  // {picture, ready}: picture is null until ready, the same for each caller, is fulfilled.
  ask(address, pixels) {
    let sheet = this.kept.get(address);
    if (sheet) this.kept.delete(address); else sheet = this.fetched(address, pixels);
    this.kept.set(address, sheet);
    for (const old of [...this.kept.keys()]) {
      if (this.pixels <= this.most) break;
      if (old !== address && !this.isShown(old)) this.drop(old);
    }
    return sheet;
  }

  fetched(address, pixels) {
    const sheet = {pixels, picture: null, dropped: false};
    this.pixels += pixels;
    sheet.ready = (async () => {
      const reply = await fetch(address);
      if (!reply.ok) throw new Error(`${decodeURIComponent(address)} cannot be loaded`);
      const picture = await createImageBitmap(await reply.blob());
      if (sheet.dropped) picture.close(); else sheet.picture = picture;
    })();
    // Asked for anew the next time; whoever waits for it is told by the promise itself.
    sheet.ready.catch(() => { if (!sheet.dropped) this.drop(address); });
    return sheet;
  }

  drop(address) {
    const sheet = this.kept.get(address);
    this.kept.delete(address);
    this.pixels -= sheet.pixels;
    sheet.dropped = true;
    if (sheet.picture) sheet.picture.close();
  }
}

class Views {
  // box: filled with one figure per view; onProblem: told why a view cannot be shown.
  constructor(box, onProblem) {
    Object.assign(this, {box, onProblem, views: [], frameStep: []});
    this.sheets = new Sheets((address) => this.views.some((view) => view.address === address));
  }

  ask(index, role, plan, number) {
    const address = `/sheet/${index}/${encodeURIComponent(role)}/${number}`;
    return {address, sheet: this.sheets.ask(address, sheetPixels(plan, number))};
  }

  // The sheets that show an episode at a step.
  async load(index, description, step = 0) {
    const row = rowAt(description.frame_step, step);
    await Promise.all(Object.entries(description.views).map(([role, plan]) =>
      this.ask(index, role, plan, place(plan, row).number).sheet.ready));
  }

  // All sheets of an episode, where half of what may be kept holds them: it scrubs at once then.
  ahead(index, description) {
    const all = Object.entries(description.views).flatMap(([role, plan]) =>
      Array.from({length: plan.sheets}, (_, number) => [role, plan, number]));
    const pixels = all.reduce((sum, [, plan, number]) => sum + sheetPixels(plan, number), 0);
    if (pixels > this.sheets.most / 2) return;
    for (const [role, plan, number] of all) this.ask(index, role, plan, number);
  }

  show(index, description) {
    const roles = Object.entries(description.views);
    this.frameStep = description.frame_step;
    this.views = roles.map(([role, plan]) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.width = plan.width;
      canvas.height = plan.height;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `camera view ${role.replaceAll("_", " ")}`);
      const caption = document.createElement("figcaption");
      caption.textContent = role.replaceAll("_", " ");
      figure.append(caption, canvas);
      return {index, role, plan, figure, canvas, pen: canvas.getContext("2d", {alpha: false}),
        address: "", row: -1, drawn: -1};
    });
    this.box.replaceChildren(...this.views.map((view) => view.figure));
    if (!roles.length) {
      const note = document.createElement("p");
      note.className = "muted";
      note.textContent = "This episode holds no camera frames; its curves are below.";
      this.box.replaceChildren(note);
    }
  }

  draw(step) {
    if (!this.views.length) return;
    const row = rowAt(this.frameStep, step);
    for (const view of this.views) {
      if (view.row === row) continue;
      view.row = row;
      this.drawRow(view);
    }
  }

  // Draws at once what is decoded; else the old picture stays, dimmed, until the new one is.
  drawRow(view) {
    const {plan, row} = view, {number, left, top} = place(plan, row);
    const {address, sheet} = this.ask(view.index, view.role, plan, number);
    if (address !== view.address) {
      view.address = address;
      if (number + 1 < plan.sheets) this.ask(view.index, view.role, plan, number + 1);
    }
    const late = sheet.picture === null;
    view.figure.classList.toggle("late", late);
    if (late) {
      const again = () => {
        if (this.views.includes(view) && view.row === row) this.drawRow(view);
      };
      sheet.ready.then(again, (error) => this.onProblem(error.message));
      return;
    }
    view.drawn = row;
    view.pen.drawImage(sheet.picture, left, top, plan.width, plan.height,
      0, 0, plan.width, plan.height);
  }
}
