/**
 * SHA-1 (RFC 3174), which the handshake needs. The browser's own, crypto.subtle, is absent
 * on pages over plain HTTP, where this one has to work too.
 */

/** Return the 20 bytes of the hash of a Uint8Array. */
export function sha1(data) {
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const padded = pad(data);
  for (let at = 0; at < padded.byteLength; at += 64) addBlock(state, padded, at);
  const hash = new DataView(new ArrayBuffer(20));
  state.forEach((word, index) => {
    hash.setUint32(4 * index, word);
  });
  return new Uint8Array(hash.buffer);
}

/** Return the data with a 1 bit, zeros, and its length in bits, in blocks of 64 bytes. */
function pad(data) {
  const blocks = Math.ceil((data.length + 9) / 64);
  const padded = new Uint8Array(64 * blocks);
  padded.set(data);
  padded[data.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(64 * blocks - 8, BigInt(data.length) * 8n);
  return view;
}

function addBlock(state, view, at) {
  const words = [];
  for (let t = 0; t < 80; t++) {
    words[t] =
      t < 16
        ? view.getUint32(at + 4 * t)
        : rotate(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
  }
  let [a, b, c, d, e] = state;
  for (let t = 0; t < 80; t++) {
    const [mixed, constant] = round(t, b, c, d);
    const next = (rotate(a, 5) + mixed + e + words[t] + constant) | 0;
    [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
  }
  [a, b, c, d, e].forEach((word, index) => {
    state[index] = (state[index] + word) >>> 0;
  });
}

function round(t, b, c, d) {
  if (t < 20) return [(b & c) | (~b & d), 0x5a827999];
  if (t < 40) return [b ^ c ^ d, 0x6ed9eba1];
  if (t < 60) return [(b & c) | (b & d) | (c & d), 0x8f1bbcdc];
  return [b ^ c ^ d, 0xca62c1d6];
}

function rotate(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}
