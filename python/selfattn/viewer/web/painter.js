/**
 * One drawing interface, two backends: a canvas for the screen and PNG files, elements for SVG
 * files. Styles: {fill, stroke, width, alpha}; text also {size, align, weight, turn}, where turn is
 * in radians about the text's anchor.
 */
class CanvasPainter {
  constructor(context, font) {
    this.context = context;
    this.font = font;
  }

  styled({ fill, stroke, width = 1, alpha = 1 }, draw) {
    const { context } = this;
    context.globalAlpha = alpha;
    draw();
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  rect(x, y, width, height, style) {
    this.styled(style, () => {
      this.context.beginPath();
      if (style.radius) this.context.roundRect(x, y, width, height, style.radius);
      else this.context.rect(x, y, width, height);
    });
  }

  line(x0, y0, x1, y1, style) {
    this.styled(style, () => {
      this.context.beginPath();
      this.context.moveTo(x0, y0);
      this.context.lineTo(x1, y1);
    });
  }

  /** A line from left to right that leaves and arrives level. */
  curve(x0, y0, x1, y1, style) {
    const bend = (x1 - x0) * 0.45;
    this.styled(style, () => {
      this.context.beginPath();
      this.context.moveTo(x0, y0);
      this.context.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
    });
  }

  text(x, y, string, { fill, size = 13, align = "left", weight = 400, alpha = 1, turn = 0 }) {
    const { context } = this;
    context.save();
    context.globalAlpha = alpha;
    context.fillStyle = fill;
    context.font = `${weight} ${size}px ${this.font}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.direction = "ltr";
    context.translate(x, y);
    if (turn) context.rotate(turn);
    context.fillText(string, 0, 0);
    context.restore();
  }

  measure(string, { size = 13, weight = 400 }) {
    this.context.font = `${weight} ${size}px ${this.font}`;
    return this.context.measureText(string).width;
  }

  /** A part of a canvas, its pixels left as they are. */
  image(canvas, [sx, sy, sw, sh], [x, y, width, height], alpha = 1) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, sx, sy, sw, sh, x, y, width, height);
    context.globalAlpha = 1;
  }

  clipped(x, y, width, height, draw) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    draw();
    context.restore();
  }
}

class SvgPainter {
  static NAMESPACE = "http://www.w3.org/2000/svg";

  constructor(width, height, font, measurer) {
    this.font = font;
    this.measurer = measurer;
    this.clips = 0;
    this.root = this.make("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, null);
    this.parent = this.root;
  }

  make(tag, attributes, parent = this.parent) {
    const element = document.createElementNS(SvgPainter.NAMESPACE, tag);
    for (const [name, value] of Object.entries(attributes)) {
      const short = typeof value === "number" ? Number(value.toFixed(2)) : value;
      if (value !== undefined) element.setAttribute(name, short);
    }
    parent?.appendChild(element);
    return element;
  }

  attributes({ fill = "none", stroke, width = 1, alpha = 1 }) {
    return {
      fill, stroke, "stroke-width": stroke && width, opacity: alpha === 1 ? undefined : alpha,
    };
  }

  rect(x, y, width, height, style) {
    this.make("rect", { x, y, width, height, rx: style.radius, ...this.attributes(style) });
  }

  line(x1, y1, x2, y2, style) {
    this.make("line", { x1, y1, x2, y2, ...this.attributes(style) });
  }

  curve(x0, y0, x1, y1, style) {
    const bend = (x1 - x0) * 0.45;
    const numbers = [x0, y0, x0 + bend, y0, x1 - bend, y1, x1, y1].map((n) => n.toFixed(1));
    const [a, b, c, d, e, f, g, h] = numbers;
    const path = `M${a} ${b}C${c} ${d} ${e} ${f} ${g} ${h}`;
    this.make("path", { d: path, ...this.attributes(style) });
  }

  text(x, y, string, { fill, size = 13, align = "left", weight = 400, alpha = 1, turn = 0 }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const degrees = (turn * 180) / Math.PI;
    this.make("text", {
      x, y, fill, "font-family": this.font, "font-size": size, "font-weight": weight,
      "text-anchor": anchor, "dominant-baseline": "central", opacity: alpha,
      transform: turn ? `rotate(${degrees} ${x.toFixed(2)} ${y.toFixed(2)})` : undefined,
    }).textContent = string;
  }

  measure(string, style) {
    return this.measurer.measure(string, style);
  }

  image(canvas, [sx, sy, sw, sh], [x, y, width, height], alpha = 1) {
    const part = document.createElement("canvas");
    part.width = Math.max(1, Math.round(sw));
    part.height = Math.max(1, Math.round(sh));
    part.getContext("2d").drawImage(canvas, sx, sy, sw, sh, 0, 0, part.width, part.height);
    const image = this.make("image", {
      x, y, width, height, href: part.toDataURL("image/png"), preserveAspectRatio: "none",
      opacity: alpha === 1 ? undefined : alpha,
    });
    image.style.imageRendering = "pixelated";
  }

  clipped(x, y, width, height, draw) {
    const id = `clip${this.clips++}`;
    const clip = this.make("clipPath", { id });
    this.make("rect", { x, y, width, height }, clip);
    const outer = this.parent;
    this.parent = this.make("g", { "clip-path": `url(#${id})` });
    draw();
    this.parent = outer;
  }

  /** The file's text. Names went in as text nodes, so the serialiser escapes them. */
  toString() {
    return new XMLSerializer().serializeToString(this.root);
  }
}
