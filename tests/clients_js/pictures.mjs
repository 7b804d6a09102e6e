// Pictures to upload: a pixel of 70 bytes, and the same in a file of 120 MB that no viewer reads.
import { crc32 } from "node:zlib";

const ENCODED =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
export const pixel = Buffer.from(ENCODED, "base64");

export const large = () => {
  const word = Buffer.from("kiNo");
  const filler = Buffer.concat([word, Buffer.alloc(1 << 20)]);
  const ends = [Buffer.alloc(4), Buffer.alloc(4)];
  ends[0].writeUInt32BE(filler.length - word.length);
  ends[1].writeUInt32BE(crc32(filler));
  const chunk = Buffer.concat([ends[0], filler, ends[1]]);
  const end = pixel.lastIndexOf("IEND") - 4;
  return Buffer.concat([pixel.subarray(0, end), ...Array(115).fill(chunk), pixel.subarray(end)]);
};
