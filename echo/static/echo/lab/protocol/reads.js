/** Tells which messages each read of a stream has, whole or in part. */

/**
 * Return for each read its parts: the number of a message, from 1 on, the bytes of it, and
 * whether they are the whole message.
 */
export function partsOfReads(reads, messages) {
  const ends = [];
  let total = 0;
  for (const size of messages) {
    total += size;
    ends.push(total);
  }
  let at = 0;
  let index = 0;
  return reads.map((read) => {
    const parts = [];
    const end = at + read;
    while (at < end) {
      const bytes = Math.min(end, ends[index]) - at;
      parts.push({ message: index + 1, bytes, isWhole: bytes === messages[index] });
      at += bytes;
      if (at === ends[index]) index++;
    }
    return parts;
  });
}

/** Return how many reads have several messages, and how many cut one. */
export function countReads(partsOfEach) {
  return {
    reads: partsOfEach.length,
    joined: partsOfEach.filter((parts) => parts.length > 1).length,
    cut: partsOfEach.filter((parts) => parts.some(({ isWhole }) => !isWhole)).length,
    exact: partsOfEach.filter((parts) => parts.length === 1 && parts[0].isWhole).length,
  };
}

/** Return the size of a server's frame with a payload of so many bytes, below 64 KiB. */
export function frameSize(payload) {
  return payload + (payload < 126 ? 2 : 4);
}
