// A QR code (ISO/IEC 18004) of a short text, drawn here so that a secret goes nowhere else: bytes,
// versions 1 to 9, error correction L, mask 0.

/** Of versions 1 to 9: all codewords, those of correction in a block, blocks. */
const VERSIONS = [
  [26, 7, 1],
  [44, 10, 1],
  [70, 15, 1],
  [100, 20, 1],
  [134, 26, 1],
  [172, 18, 2],
  [196, 20, 2],
  [242, 24, 2],
  [292, 30, 2],
] as const;
/** Centres of alignment patterns beyond the first, which is at 6. */
const ALIGNMENTS = [[], [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46]] as const;

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let power = 0, value = 1; power < 255; power++) {
  EXP[power] = EXP[power + 255] = value;
  LOG[value] = power;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

const times = (a: number, b: number) => (a && b ? (EXP[(LOG[a] ?? 0) + (LOG[b] ?? 0)] ?? 0) : 0);

/** Reed-Solomon codewords of a block. */
function correction(data: readonly number[], count: number): number[] {
  let generator = [1];
  for (let root = 0; root < count; root++) {
    const next = [...generator, 0];
    generator.forEach((factor, at) => (next[at + 1] = (next[at + 1] ?? 0) ^ times(factor, EXP[root] ?? 0)));
    generator = next;
  }
  const rest = [...data, ...new Array<number>(count).fill(0)];
  for (let at = 0; at < data.length; at++) {
    const lead = rest[at] ?? 0;
    if (lead) generator.forEach((factor, step) => (rest[at + step] = (rest[at + step] ?? 0) ^ times(factor, lead)));
  }
  return rest.slice(data.length);
}

/** The codewords of a text in the order they are drawn in. */
function codewords(bytes: Uint8Array, version: number): number[] {
  const [all, ec, blocks] = VERSIONS[version - 1] ?? VERSIONS[0];
  const room = all - ec * blocks;
  const nibbles = [4, bytes.length >> 4, bytes.length & 15];
  for (const byte of bytes) nibbles.push(byte >> 4, byte & 15);
  nibbles.push(0);
  const data: number[] = [];
  for (let at = 0; at < nibbles.length; at += 2) data.push(((nibbles[at] ?? 0) << 4) | (nibbles[at + 1] ?? 0));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const size = room / blocks;
  const parts = Array.from({ length: blocks }, (_, at) => data.slice(at * size, (at + 1) * size));
  const corrections = parts.map((part) => correction(part, ec));
  const mixed = (lists: number[][], length: number) =>
    Array.from({ length }, (_, at) => lists.map((list) => list[at] ?? 0)).flat();
  return [...mixed(parts, size), ...mixed(corrections, ec)];
}

/** Appends the remainder of a BCH code. */
function withRemainder(value: number, generator: number, bits: number): number {
  let rest = value << bits;
  for (let bit = 31; bit >= bits; bit--) if (rest & (1 << bit)) rest ^= generator << (bit - bits);
  return (value << bits) | rest;
}

/** Rows of dark and light modules, without the quiet zone; undefined when the text is too long. */
export function qrCode(text: string): boolean[][] | undefined {
  const bytes = new TextEncoder().encode(text);
  const version = 1 + VERSIONS.findIndex(([all, ec, blocks]) => bytes.length + 2 <= all - ec * blocks);
  if (version === 0) return undefined;
  const size = 17 + 4 * version;
  const grid: (boolean | undefined)[][] = Array.from({ length: size }, () => new Array<boolean | undefined>(size).fill(undefined));
  const put = (x: number, y: number, dark: boolean) => {
    const row = grid[y];
    if (row && x >= 0 && x < size) row[x] = dark;
  };
  const square = (x: number, y: number, reach: number, isDark: (ring: number) => boolean) => {
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) put(x + dx, y + dy, isDark(Math.max(Math.abs(dx), Math.abs(dy))));
  };
  for (let at = 8; at < size - 8; at++) {
    put(at, 6, at % 2 === 0);
    put(6, at, at % 2 === 0);
  }
  const centres: readonly number[] = ALIGNMENTS[version - 1] ?? [];
  const last = centres.at(-1);
  for (const y of [6, ...centres]) {
    for (const x of [6, ...centres]) {
      const isFinder = (x === 6 && (y === 6 || y === last)) || (y === 6 && x === last);
      if (!isFinder && last !== undefined) square(x, y, 2, (ring) => ring !== 1);
    }
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) square(x, y, 4, (ring) => ring !== 2 && ring !== 4);
  describe(put, size, version);
  fill(grid, size, codewords(bytes, version));
  return grid.map((row) => row.map((dark) => dark === true));
}

type Put = (x: number, y: number, dark: boolean) => void;

/** What correction and mask there are, and from version 7 on which version. */
function describe(put: Put, size: number, version: number) {
  const format = withRemainder(0b01000, 0x537, 10) ^ 0x5412;
  for (let at = 0; at < 15; at++) {
    const dark = ((format >> at) & 1) === 1;
    put(8, at < 6 ? at : at < 8 ? at + 1 : size - 15 + at, dark);
    put(at < 8 ? size - 1 - at : at < 9 ? 7 : 14 - at, 8, dark);
  }
  put(8, size - 8, true);
  if (version < 7) return;
  const code = withRemainder(version, 0x1f25, 12);
  for (let at = 0; at < 18; at++) {
    const dark = ((code >> at) & 1) === 1;
    put(size - 11 + (at % 3), Math.floor(at / 3), dark);
    put(Math.floor(at / 3), size - 11 + (at % 3), dark);
  }
}

/** The data, two columns at a time, up and down from the right, with the mask over it. */
function fill(grid: (boolean | undefined)[][], size: number, words: readonly number[]) {
  let bit = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const isUp = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step++) {
      const y = isUp ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        const row = grid[y];
        if (!row || row[x] !== undefined) continue;
        const dark = (((words[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
        row[x] = dark !== ((x + y) % 2 === 0);
        bit++;
      }
    }
  }
}
