/**
 * Unpacks what the file holds: base64 of zlib of JSON or of arrays, each block in an inert
 * <script>. The format stands in selfattn/viewer/_payload.py.
 */
const Payload = (() => {
  const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

  /** The text of a block; waits while the parser has not reached its end. */
  async function textOf(id) {
    for (;;) {
      const element = document.getElementById(id);
      if (element !== null && (element.nextElementSibling || document.readyState !== "loading")) {
        return element.textContent;
      }
      if (document.readyState !== "loading") throw new Error(`block ${id} is missing`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const binary = atob(base64);
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  }

  async function inflate(base64) {
    const { writable, readable } = new DecompressionStream("deflate");
    const writer = writable.getWriter();
    const written = writer.write(bytesOf(base64)).then(() => writer.close());
    const [buffer] = await Promise.all([new Response(readable).arrayBuffer(), written]);
    return buffer;
  }

  /** Numbers whose first bytes stand together, then all second bytes ...: back in order. */
  function interleave(bytes, width) {
    const count = bytes.length / width;
    const ordered = new Uint8Array(bytes.length);
    for (let place = 0; place < width; place++) {
      const from = place * count;
      for (let i = 0; i < count; i++) ordered[i * width + place] = bytes[from + i];
    }
    return ordered.buffer;
  }

  async function header() {
    return JSON.parse(new TextDecoder().decode(await inflate(await textOf("header"))));
  }

  /** {name: {data: typed array, shape: [...]}} of a block that the header describes. */
  async function arrays(block) {
    const buffer = await inflate(await textOf(block.id));
    if (buffer.byteLength !== block.bytes) throw new Error(`block ${block.id} is damaged`);
    const found = {};
    for (const [name, [type, shape, offset, planes]] of Object.entries(block.arrays)) {
      const Type = TYPES[type];
      const count = shape.reduce((product, size) => product * size, 1);
      if (planes) {
        const bytes = new Uint8Array(buffer, offset, count * Type.BYTES_PER_ELEMENT);
        found[name] = { data: new Type(interleave(bytes, Type.BYTES_PER_ELEMENT)), shape };
      } else {
        found[name] = { data: new Type(buffer, offset, count), shape };
      }
    }
    return found;
  }

  return { header, arrays };
})();
