/** Mouse, wheel and fingers over the matrix view: look, choose, drag, zoom. */
class MatrixPointer {
  constructor(view) {
    this.view = view;
    this.down = new Map();
    this.moved = false;
    const { canvas } = view;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.down.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => view.app.set({ over: null }));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoomAt(event, 4));
  }

  at(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  move(event) {
    const point = this.at(event);
    const before = this.down.get(event.pointerId);
    if (before === undefined) {
      this.view.app.set({ over: this.view.probe(...point) });
      return;
    }
    this.down.set(event.pointerId, point);
    if (this.onMinimap) {
      this.goByMinimap(point);
    } else if (this.down.size === 2) {
      this.pinch(event.pointerId, before, point);
    } else {
      const [dx, dy] = [point[0] - before[0], point[1] - before[1]];
      this.travel += Math.hypot(dx, dy);
      this.moved ||= this.travel > 4;
      if (this.moved) this.view.camera.pan(dx, dy);
    }
    this.view.app.set({ over: null });
  }

  /** Two fingers: what is under them stays under them. */
  pinch(id, before, point) {
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, place]) => place);
    const distance = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
    this.moved = true;
    this.zoom(distance(point) / Math.max(1, distance(before)), other);
  }

  press(event) {
    const point = this.at(event);
    this.view.canvas.setPointerCapture(event.pointerId);
    if (this.down.size === 0) {
      this.moved = false;
      this.travel = 0;
      const box = this.view.minimap;
      this.onMinimap = box !== null && point[0] >= box.x && point[1] >= box.y
        && point[0] <= box.x + box.width && point[1] <= box.y + box.height;
      if (this.onMinimap) this.goByMinimap(point);
    }
    this.down.set(event.pointerId, point);
  }

  goByMinimap([px, py]) {
    const { x, y, width, height } = this.view.minimap;
    const { camera, app } = this.view;
    camera.centre(((px - x) / width) * camera.keys, ((py - y) / height) * camera.queries);
    this.moved = true;
    app.redraw();
  }

  /** Without a drag it was a click: choose the cell, or let go of it. */
  release(event) {
    this.down.delete(event.pointerId);
    if (this.moved || this.down.size > 0) return;
    const place = this.view.probe(...this.at(event));
    const { pick } = this.view.app.state;
    const again = place && pick?.query === place.query && pick.key === place.key;
    this.view.app.set({ pick: again ? null : place && { ...place, block: null } });
    this.view.shownPick = this.view.app.state.pick;
  }

  /** In a notebook the wheel scrolls the page until the view has been clicked on. */
  wheel(event) {
    const embedded = window.parent !== window;
    const focused = this.view.element.contains(document.activeElement);
    if (embedded && !focused && !event.ctrlKey) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    this.zoomAt(event, Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.002)));
  }

  zoomAt(event, factor) {
    this.zoom(factor, this.at(event));
  }

  zoom(factor, [px, py]) {
    const { view } = this;
    const area = view.layout(view.element.clientWidth, view.element.clientHeight);
    view.camera.zoom(factor, px - area.left, py - area.top);
    view.app.redraw();
  }
}
