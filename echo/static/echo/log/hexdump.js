/** Formats bytes as `hexdump -C` does: offset, sixteen bytes, and printable characters. */

export const BYTES_PER_LINE = 16;

/** Return the dump's lines, joined; at most `maxLines` of them. */
export function hexdump(bytes, maxLines = Number.POSITIVE_INFINITY) {
  const count = Math.min(maxLines, Math.ceil(bytes.length / BYTES_PER_LINE));
  return Array.from({ length: count }, (_, index) =>
    line(bytes, index * BYTES_PER_LINE),
  ).join("\n");
}

function line(bytes, offset) {
  const part = Array.from(bytes.subarray(offset, offset + BYTES_PER_LINE));
  const hex = part.map((byte) => byte.toString(16).padStart(2, "0"));
  const halves = `${hex.slice(0, 8).join(" ")}  ${hex.slice(8).join(" ")}`;
  const characters = part.map(printable).join("");
  return `${offset.toString(16).padStart(8, "0")}  ${halves.padEnd(48)}  |${characters}|`;
}

function printable(byte) {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
}
