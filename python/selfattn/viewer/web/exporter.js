/** The current view as a file: SVG with text and lines as such, or PNG of twice the size. */
class Exporter {
  static PNG_RATIO = 2;

  constructor(app, views) {
    this.app = app;
    this.views = views;
    document.getElementById("save-svg").addEventListener("click", () => this.svg());
    document.getElementById("save-png").addEventListener("click", () => this.png());
  }

  svg() {
    const [width, height] = this.views[this.app.state.view].exportSize();
    const measurer = this.canvas(1, 1).painter;
    const painter = new SvgPainter(width, height, this.app.palette.font, measurer);
    this.views[this.app.state.view].paint(painter, width, height, 1);
    this.save(new Blob([painter.toString()], { type: "image/svg+xml" }), "svg");
  }

  png() {
    const [width, height] = this.views[this.app.state.view].exportSize();
    const { canvas, painter } = this.canvas(width, height);
    this.views[this.app.state.view].paint(painter, width, height, Exporter.PNG_RATIO);
    canvas.toBlob((blob) => this.save(blob, "png"), "image/png");
  }

  canvas(width, height) {
    const canvas = document.createElement("canvas");
    const painter = Stage.fit(canvas, width, height, this.app.palette.font, Exporter.PNG_RATIO);
    return { canvas, painter };
  }

  save(blob, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `attention-${this.app.state.view}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.app.redraw();
  }
}
