// From strokes of a pen to the form of scikit-learn's digits: bright on black, 8 x 8.
//
// Each digit there is a bitmap of 32 x 32 that it fills from top to bottom, at most 24 wide. A
// pixel is the number of bits, from 0 to 16, in a square of 4 x 4. contnet stretches it to 0..255.

const SIDE = 32; // of the bitmap
const SQUARE = 4;
const WIDEST = 24;
const RADIUS = 2.75; // of the pen: with it, digits are as bright as those of the data set

/** The image of strokes, a Uint8Array of 64 in rows. A stroke is a list of points [x, y]. */
export function image(strokes) {
  const bits = bitmap(fitted(strokes));
  const n = SIDE / SQUARE;
  const counts = new Array(n * n).fill(0);
  bits.forEach((bit, k) => {
    const row = Math.floor(k / SIDE / SQUARE);
    const column = Math.floor((k % SIDE) / SQUARE);
    counts[row * n + column] += bit;
  });
  return Uint8Array.from(counts, (count) => Math.round((count * 255) / SQUARE ** 2));
}

/** Strokes moved to the middle and stretched to the height of the bitmap. */
function fitted(strokes) {
  const points = strokes.flat();
  const [left, right] = range(points.map(([x]) => x));
  const [top, bottom] = range(points.map(([, y]) => y));
  const width = right - left;
  // A dash is not made as high as a digit.
  const height = Math.max(bottom - top, width / 2, 1e-9);
  const down = (SIDE - 2 * RADIUS) / height;
  const across = Math.min(down, (WIDEST - 2 * RADIUS) / Math.max(width, 1e-9));
  const place = ([x, y]) => [
    SIDE / 2 + (x - (left + right) / 2) * across,
    SIDE / 2 + (y - (top + bottom) / 2) * down,
  ];
  return strokes.map((stroke) => stroke.map(place));
}

function range(values) {
  return values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [
    Infinity,
    -Infinity,
  ]);
}

/** The bits, in rows, whose middle the pen has covered. */
function bitmap(strokes) {
  const segments = strokes.flatMap((stroke) =>
    stroke.map((point, i) => [stroke[Math.max(i - 1, 0)], point]),
  );
  const covered = (x, y) => segments.some(([a, b]) => squared(x, y, a, b) <= RADIUS * RADIUS);
  return Array.from({ length: SIDE * SIDE }, (_, k) =>
    Number(covered((k % SIDE) + 0.5, Math.floor(k / SIDE) + 0.5)),
  );
}

/** The squared distance of (x, y) from the segment from a to b. */
function squared(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length === 0 ? 0 : ((x - ax) * dx + (y - ay) * dy) / length;
  const along = Math.min(Math.max(t, 0), 1);
  const [ex, ey] = [x - ax - along * dx, y - ay - along * dy];
  return ex * ex + ey * ey;
}
