/** Canvases in the pixels of the screen. */
const Stage = {
  /** Give a canvas a size in CSS pixels and return a painter for it, clear. */
  fit(canvas, width, height, font, ratio = window.devicePixelRatio || 1) {
    const [wide, high] = [width, height].map((size) => Math.max(1, Math.round(size * ratio)));
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return new CanvasPainter(context, font);
  },
};
