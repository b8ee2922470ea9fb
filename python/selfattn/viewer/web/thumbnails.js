/** Thumbnails as small canvases, one per map and theme, each with a scale of its own. */
class Thumbnails {
  constructor(app) {
    this.app = app;
    this.canvases = new Map();
    this.palette = null;
  }

  of(grid) {
    if (this.palette !== this.app.palette) {
      this.palette = this.app.palette;
      this.canvases.clear();
    }
    let canvas = this.canvases.get(grid);
    if (canvas === undefined) {
      canvas = this.render(grid);
      this.canvases.set(grid, canvas);
    }
    return canvas;
  }

  render(grid) {
    const canvas = document.createElement("canvas");
    canvas.width = grid.columns;
    canvas.height = grid.rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(grid.columns, grid.rows);
    const shade = this.app.queries * this.app.keys > 256 * 256 ? "log" : "root";
    const colours = new Scale(grid.codes, grid.scale, shade).colours(this.palette).strong;
    new Uint32Array(image.data.buffer).set(Uint32Array.from(grid.codes, (code) => colours[code]));
    context.putImageData(image, 0, 0);
    return canvas;
  }
}
