"use strict";
// Camera views from sheets of frames: decoded once per episode, then a frame is a copy.

class Views {
  constructor(box) {
    this.box = box;
    this.views = [];
    this.loaded = new Map();
  }

  // Decoded sheets of an episode, the same promise for each caller; the latest few are kept.
  load(index, description) {
    if (this.loaded.has(index)) return this.loaded.get(index);
    const roles = Object.entries(description.views).map(async ([role, plan]) => {
      const sheets = Array.from({length: plan.sheets}, async (_, number) => {
        const reply = await fetch(`/sheet/${index}/${role}/${number}`);
        if (!reply.ok) throw new Error(`view ${role} cannot be loaded`);
        return createImageBitmap(await reply.blob());
      });
      return [role, await Promise.all(sheets)];
    });
    const all = Promise.all(roles).then(Object.fromEntries);
    this.loaded.set(index, all);
    all.catch(() => this.loaded.delete(index));
    while (this.loaded.size > 5) {
      const [oldest, promise] = this.loaded.entries().next().value;
      this.loaded.delete(oldest);
      promise.then((found) => Object.values(found).flat().forEach((sheet) => sheet.close()));
    }
    return all;
  }

  show(description, sheets) {
    const roles = Object.entries(description.views);
    this.frameStep = description.frame_step;
    this.views = roles.map(([role, plan]) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.width = plan.width;
      canvas.height = plan.height;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `camera view ${role.replace("_", " ")}`);
      const caption = document.createElement("figcaption");
      caption.textContent = role.replace("_", " ");
      figure.append(caption, canvas);
      return {figure, canvas, pen: canvas.getContext("2d", {alpha: false}), plan,
        sheets: sheets[role], row: -1};
    });
    this.box.replaceChildren(...this.views.map((view) => view.figure));
    if (!roles.length) {
      const note = document.createElement("p");
      note.className = "muted";
      note.textContent = "This episode holds no camera frames; its curves are below.";
      this.box.replaceChildren(note);
    }
  }

  // The newest frame row at a state: frames at a stride hold until the next.
  rowAt(step) {
    let low = 0, high = this.frameStep.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.frameStep[middle] <= step) low = middle + 1; else high = middle;
    }
    return Math.max(0, low - 1);
  }

  draw(step) {
    if (!this.views.length) return;
    const row = this.rowAt(step);
    for (const view of this.views) {
      if (view.row === row) continue;
      view.row = row;
      const {plan} = view, each = plan.columns * plan.rows, inside = row % each;
      const sheet = view.sheets[Math.floor(row / each)];
      const left = inside % plan.columns * plan.width;
      const top = Math.floor(inside / plan.columns) * plan.height;
      view.pen.drawImage(sheet, left, top, plan.width, plan.height, 0, 0, plan.width, plan.height);
    }
  }
}
