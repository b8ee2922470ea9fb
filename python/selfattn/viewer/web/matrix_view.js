/**
 * The matrix view: queries down, keys across, colour for weight; from the whole map to single cells
 * with their numbers.
 */
class MatrixView {
  static NUMBERS = [40, 18];
  static BOTTOM = 46;

  constructor(app) {
    this.app = app;
    this.element = document.getElementById("matrix");
    this.canvas = this.element.querySelector("canvas");
    this.camera = new Camera(app.queries, app.keys);
    this.raster = new Raster();
    this.axes = new Axes(app, this.camera);
    this.scales = new WeakMap();
    this.thumbnail = null;
    this.span = [1, 1];
    this.shownPick = null;
    this.pointer = new MatrixPointer(this);
  }

  draw() {
    const width = this.element.clientWidth;
    const height = this.element.clientHeight;
    const painter = Stage.fit(this.canvas, width, height, this.app.palette.font);
    this.paint(painter, width, height, window.devicePixelRatio || 1);
    this.paintMinimap(painter, this.layout(width, height));
  }

  /** A file of a whole map has no empty margin on its right. */
  exportSize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const { left } = this.layout(width, height);
    const map = Math.max(240, this.camera.keys * this.camera.sx);
    return [this.camera.fitted ? Math.min(width, Math.ceil(left + map + 16)) : width, height];
  }

  layout(width, height) {
    const left = this.axes.gutter("query", width < 520 ? 74 : 124);
    const top = this.axes.gutter("key", height < 400 ? 74 : 104);
    return {
      left, top, width: Math.max(1, width - left - 16),
      height: Math.max(1, height - top - MatrixView.BOTTOM),
    };
  }

  paint(painter, width, height, ratio) {
    const area = this.layout(width, height);
    const { palette, state } = this.app;
    this.camera.resize(area.width, area.height);
    if (state.pick !== this.shownPick) {
      this.shownPick = state.pick;
      if (state.pick) this.camera.reveal(state.pick.query, state.pick.key);
    }
    painter.rect(0, 0, width, height, { fill: palette.surface });
    const head = this.app.head();
    const source = this.source(head, ratio);
    painter.clipped(area.left, area.top, area.width, area.height, () => {
      const map = this.mapBox(area);
      painter.rect(...map, { fill: Colour.hexOf(palette.empty) });
      if (source.pyramid !== null) this.paintMap(painter, source, area, ratio, map);
      this.paintChosen(painter, area);
    });
    this.axes.paint(painter, area);
    if (source.pyramid !== null) this.paintLegend(painter, area, source);
  }

  /** What to draw from: the map, or its thumbnail while the map is on its way. */
  source(head, ratio) {
    const { layer, head: index, grid } = this.app.state;
    if (head === null) {
      const { thumbnail } = this.app.heads.entry(layer, index);
      const pyramid = thumbnail.scale === 0 ? null : this.pyramidOf(thumbnail);
      return { head, kept: null, pyramid };
    }
    const kept = Raster.isSparse(head, this.camera, ratio) ? head : null;
    const pyramid = (kept === null && head.pyramid(grid)) || head.pyramid("max");
    return { head, kept, pyramid };
  }

  pyramidOf(thumbnail) {
    if (this.thumbnail?.base !== thumbnail) this.thumbnail = new Pyramid(thumbnail, Grid.largest);
    return this.thumbnail;
  }

  scaleOf({ kept, pyramid }) {
    const { shade } = this.app.state;
    const source = kept ?? pyramid;
    let scale = this.scales.get(source);
    if (scale?.shade !== shade) {
      scale = kept ? Scale.ofKept(kept, shade) : Scale.ofPyramid(pyramid, shade);
      this.scales.set(source, scale);
    }
    return scale;
  }

  /** Where all of the map stands on the canvas. */
  mapBox(area) {
    const { camera } = this;
    const [x, y] = camera.place(0, 0);
    return [area.left + x, area.top + y, camera.keys * camera.sx, camera.queries * camera.sy];
  }

  paintMap(painter, source, area, ratio, map) {
    const { camera } = this;
    const { palette } = this.app;
    const { head, kept, pyramid } = source;
    const scale = this.scaleOf(source);
    const image = this.raster.of(pyramid, kept, camera, ratio, scale, palette);
    this.span = image.span;
    const [x, y] = camera.place(image.y, image.x);
    painter.clipped(...map, () => {
      painter.image(image.canvas, [0, 0, image.canvas.width, image.canvas.height],
        [area.left + x, area.top + y, image.width * camera.sx, image.height * camera.sy]);
    });
    const [wide, high] = MatrixView.NUMBERS;
    if (head !== null && camera.sx >= wide && camera.sy >= high) {
      this.paintNumbers(painter, head, scale, area);
    }
  }

  paintNumbers(painter, head, scale, area) {
    const { camera } = this;
    const [[top, bottom], [left, right]] = [camera.visible(0), camera.visible(1)];
    const { palette } = this.app;
    for (let i = top; i <= bottom; i++) {
      for (let j = left; j <= right; j++) {
        const reading = head.reading(i, j);
        if (reading.kind === "zero" || reading.kind === "bound") continue;
        const [x, y] = camera.place(i + 0.5, j + 0.5);
        const dark = scale.at(Codes.encode(reading.value, scale.unit)) > 0.5;
        painter.text(area.left + x, area.top + y, Reading.brief(reading), {
          fill: dark ? palette.surface : palette.ink, size: 11, align: "center",
        });
      }
    }
  }

  /** Bands over the row and column of the current place, a frame round its cell. */
  paintChosen(painter, area) {
    const place = this.app.current();
    if (place === null) return;
    const { camera } = this;
    const { ink, accent } = this.app.palette;
    const [x, y] = camera.place(place.query ?? 0, place.key ?? 0).map(Math.round);
    const [wide, high] = [Math.max(1, camera.sx), Math.max(1, camera.sy)];
    const [, , fullWidth, fullHeight] = this.mapBox(area);
    const [x0, y0] = camera.place(0, 0);
    const line = { stroke: ink, width: 1, alpha: 0.35 };
    if (place.query !== null) {
      for (const edge of high < 4 ? [high / 2] : [0, high]) {
        painter.line(area.left + x0, area.top + y + edge, area.left + x0 + fullWidth,
          area.top + y + edge, line);
      }
    }
    if (place.key !== null) {
      for (const edge of wide < 4 ? [wide / 2] : [0, wide]) {
        painter.line(area.left + x + edge, area.top + y0, area.left + x + edge,
          area.top + y0 + fullHeight, line);
      }
    }
    if (place.query !== null && place.key !== null && wide >= 4) {
      painter.rect(area.left + x, area.top + y, wide, high, { stroke: accent, width: 2 });
    }
  }

  paintLegend(painter, area, source) {
    const { palette } = this.app;
    const scale = this.scaleOf(source);
    const [x, y] = [area.left, area.top + area.height + 14];
    const width = Math.min(180, area.width * 0.4);
    const steps = 48;
    for (let step = 0; step < steps; step++) {
      const fill = palette.rampHex[Math.round((255 * step) / (steps - 1))];
      painter.rect(x + (step * width) / steps, y, width / steps + 0.5, 8, { fill });
    }
    const style = { fill: palette.soft, size: 11 };
    for (const [t, align] of [[0, "left"], [0.5, "center"], [1, "right"]]) {
      const value = scale.valueAt(t);
      const sign = t === 1 && scale.saturates ? "\u2265 " : t === 0 && value > 0 ? "\u2264 " : "";
      const text = sign + (value === 0 ? "0" : Number(value.toPrecision(2)));
      painter.text(x + t * width, y + 19, text, { ...style, align });
    }
    const note = this.legendNote(source);
    if (note && area.width > 420) painter.text(x + width + 22, y + 4, note, style);
  }

  legendNote({ head, kept }) {
    if (kept !== null) return "pale: not kept, at most the row\u2019s smallest kept weight";
    return head?.header.overviewFrom === "top" ? "overview of the kept cells only" : "";
  }

  /** The whole map small in a corner, with the visible part framed, once zoomed in. */
  paintMinimap(painter, area) {
    this.minimap = null;
    const { camera, app } = this;
    if (camera.seesAll()) return;
    const size = Math.min(110, area.width / 4, area.height / 3);
    const share = camera.queries / camera.keys;
    const width = share > 1 ? Math.max(12, size / share) : size;
    const height = share > 1 ? size : Math.max(12, size * share);
    const x = area.left + area.width - width - 10;
    const y = area.top + area.height - height - 10;
    const { thumbnail } = app.heads.entry(app.state.layer, app.state.head);
    const { surface, line, accent } = app.palette;
    painter.rect(x - 3, y - 3, width + 6, height + 6, { fill: surface, stroke: line, radius: 4 });
    const canvas = app.thumbnails.of(thumbnail);
    painter.image(canvas, [0, 0, canvas.width, canvas.height], [x, y, width, height]);
    const [wide, high] = [width / camera.keys, height / camera.queries];
    painter.rect(x + Math.max(0, camera.x) * wide, y + Math.max(0, camera.y) * high,
      Math.max(3, Math.min(camera.keys, camera.width / camera.sx) * wide),
      Math.max(3, Math.min(camera.queries, camera.height / camera.sy) * high),
      { stroke: accent, width: 2 });
    this.minimap = { x, y, width, height };
  }

  /** The cell under a point of the canvas, or null; with the block it stands in when zoomed out. */
  probe(px, py) {
    const area = this.layout(this.element.clientWidth, this.element.clientHeight);
    const [x, y] = this.camera.cellAt(px - area.left, py - area.top);
    const [key, query] = [Math.floor(x), Math.floor(y)];
    const inside = px >= area.left && py >= area.top && px < area.left + area.width
      && py < area.top + area.height;
    if (!inside || key < 0 || query < 0 || key >= this.app.keys || query >= this.app.queries) {
      return null;
    }
    const block = Math.max(...this.span) > 1 ? this.span : null;
    return { query, key, side: this.app.state.pick?.side ?? "query", block };
  }

  key(event) {
    const { app, camera } = this;
    const far = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowUp: ["query", -far], ArrowDown: ["query", far],
      ArrowLeft: ["key", -far], ArrowRight: ["key", far],
      PageUp: ["query", -100], PageDown: ["query", 100],
      Home: ["key", -Infinity], End: ["key", Infinity],
    };
    if (event.key in moves) this.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") camera.fit();
    else return false;
    app.redraw();
    return true;
  }

  /** Move the chosen cell along one axis, from the first cell in view if there is none. */
  move(side, steps) {
    const { pick } = this.app.state;
    const at = {
      query: pick?.query ?? this.camera.visible(0)[0], key: pick?.key ?? this.camera.visible(1)[0],
    };
    if (pick !== null) {
      at[side] = Math.min(this.app.count(side) - 1, Math.max(0, at[side] + steps));
    }
    this.app.set({ pick: { ...at, side: pick?.side ?? "query" }, over: null });
  }

  /** Zoom about the chosen cell, or keep the middle of what is in view. */
  zoom(factor) {
    const { camera } = this;
    const { pick } = this.app.state;
    let x = Math.min(camera.width, camera.keys * camera.sx) / 2;
    let y = Math.min(camera.height, camera.queries * camera.sy) / 2;
    const middle = camera.cellAt(x, y);
    if (pick !== null) {
      const [px, py] = camera.place((pick.query ?? 0) + 0.5, (pick.key ?? 0) + 0.5);
      if (pick.key !== null) x = Math.min(camera.width, Math.max(0, px));
      if (pick.query !== null) y = Math.min(camera.height, Math.max(0, py));
    }
    camera.zoom(factor, x, y);
    if (pick === null) camera.centre(...middle);
    this.app.redraw();
  }
}
