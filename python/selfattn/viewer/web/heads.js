/**
 * All maps of the file: thumbnails at once, the rest unpacked when something asks for it. `get`
 * answers null until then and `changed` is called when there is more to draw.
 */
class Heads {
  static MOST_BYTES = 512 * 2 ** 20;

  constructor(header, thumbnails, changed) {
    this.sizes = [header.queries, header.keys];
    this.changed = changed;
    this.entries = [];
    header.layers.forEach((layer, layerIndex) => layer.heads.forEach((head, headIndex) => {
      const { data, shape } = thumbnails[this.entries.length];
      const { span, scale } = head.thumbnail;
      const thumbnail = new Grid(data, ...shape, span, scale, this.sizes);
      this.entries.push({ layer: layerIndex, head: headIndex, header: head, thumbnail });
    }));
    this.firstOfLayer = header.layers.map((_, i) => this.entries.findIndex((e) => e.layer === i));
    this.used = new Map();
  }

  entry(layer, head) {
    return this.entries[this.firstOfLayer[layer] + head];
  }

  /** The unpacked map, or null while it is on its way. */
  get(layer, head) {
    const entry = this.entry(layer, head);
    if (!entry.unpacked && !entry.loading) {
      entry.loading = this.load(entry).then(() => this.changed(), (error) => {
        entry.failed = error;
        this.changed();
      });
    }
    if (entry.unpacked) this.touch(entry);
    return entry.unpacked ?? null;
  }

  async load(entry) {
    const { cells, rows } = entry.header;
    const parts = await Promise.all([cells, rows].map(Payload.arrays));
    entry.unpacked = Head.make(entry.header, ...parts, this.sizes);
    entry.loading = null;
  }

  /** Forget what was used longest ago once too much is unpacked; it can be unpacked again. */
  touch(entry) {
    this.used.delete(entry);
    this.used.set(entry, 3 * entry.header.cells.bytes + entry.header.rows.bytes);
    let total = 0;
    for (const bytes of this.used.values()) total += bytes;
    for (const [old, bytes] of this.used) {
      if (total <= Heads.MOST_BYTES || old === entry) break;
      old.unpacked = undefined;
      this.used.delete(old);
      total -= bytes;
    }
  }
}
