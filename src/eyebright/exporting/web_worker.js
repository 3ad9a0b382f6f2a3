// Runs beside the page: decodes an image, and does with it, number for number, what Eyebright does in Python.
// Shapes: H x W pixels, R side after resizing, S side that the network sees, C channels, D embedding width, K classes.
"use strict";

const STRIP_PIXELS = 1 << 20;
const NEIGHBOURS = 5; // as in eyebright/calibration/novelty.py
const THUMBNAIL = 256;
let ort, session, about, references;

// ---- files that are part of the page

function decodeBase64(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Pieces of base64, which are let go of one by one -> the bytes that they hold compressed.
async function unpack(pieces) {
  const source = new ReadableStream({
    pull(controller) {
      if (pieces.length) controller.enqueue(decodeBase64(pieces.shift()));
      else controller.close();
    },
  });
  return new Uint8Array(await new Response(source.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

// float16, as IEEE 754 writes it -> float32; no browser's own type, which the older ones lack.
function widenFloats(bytes) {
  const halves = new Uint16Array(bytes.buffer), values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i], exponent = (half >> 10) & 31, fraction = half & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    values[i] = half >> 15 ? -size : size;
  }
  return values;
}

// ---- images: { width, height, rows(top, bottom) -> RGB bytes }

// A file as the browser decodes it: upright, in sRGB, over white; read strip by strip, for no second copy.
async function openImage(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  let strip, first = 0, last = 0;
  const read = (top, bottom) => {
    const canvas = new OffscreenCanvas(width, bottom - top);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, bottom - top);
    context.drawImage(bitmap, 0, -top);
    return context.getImageData(0, 0, width, bottom - top).data;
  };
  const many = Math.max(1, Math.floor(STRIP_PIXELS / width));
  const rows = (top, bottom) => {
    const found = new Uint8Array((bottom - top) * width * 3);
    for (let y = top, to = 0; y < bottom; y++) {
      if (y < first || y >= last) {
        first = y;
        last = Math.min(height, y + many);
        strip = read(first, last);
      }
      for (let from = (y - first) * width * 4, end = from + width * 4; from < end; from += 4) {
        found[to++] = strip[from];
        found[to++] = strip[from + 1];
        found[to++] = strip[from + 2];
      }
    }
    return found;
  };
  return { bitmap, width, height, rows };
}

// The same at 1 / scale, each pixel a mean: what comes nearest to a JPEG that is decoded at that scale.
function shrink(image, scale) {
  const width = Math.floor(image.width / scale + 0.5), height = Math.floor(image.height / scale + 0.5);
  const rows = (top, bottom) => {
    const found = new Uint8Array((bottom - top) * width * 3);
    for (let y = top, to = 0; y < bottom; y++) {
      const from = image.rows(y * scale, Math.min(image.height, (y + 1) * scale));
      const deep = from.length / image.width / 3;
      for (let x = 0; x < width; x++) {
        const end = Math.min(image.width, (x + 1) * scale), count = deep * (end - x * scale);
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let row = 0; row < deep; row++) {
            for (let i = x * scale; i < end; i++) sum += from[(row * image.width + i) * 3 + c];
          }
          found[to++] = Math.floor(sum / count + 0.5);
        }
      }
    }
    return found;
  };
  return { width, height, rows };
}

// 8, 4 or 2, the largest that leaves the shorter side long enough; else 1. As `_jpeg_scale` in eyebright/data/decode.py.
function chooseScale(image, shortSide) {
  const short = Math.min(image.width, image.height);
  return (shortSide > 0 && [8, 4, 2].find((scale) => Math.floor((short + (scale >> 1)) / scale) >= shortSide)) || 1;
}

// ---- preprocessing, as eyebright/preprocess.py

const FILTERS = {
  bilinear: { reach: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys' cubic convolution with a = -1/2.
  bicubic: {
    reach: 2,
    at: (x) => {
      const far = Math.abs(x);
      if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
      return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
    },
  },
};
const FRACTION_BITS = 22; // Pillow's: weights are whole numbers, so that sums do not depend on the machine

// For each of `count` pixels along one side: where its window starts in [0, length), and the window's weights.
function planWindows(length, start, end, count, { reach, at }) {
  const scale = (end - start) / count, stretch = Math.max(1, scale), support = reach * stretch;
  return Array.from({ length: count }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights = [];
    let sum = 0;
    for (let x = first; x < last; x++) {
      weights.push(at((x - centre + 0.5) * (1 / stretch)));
      sum += weights[weights.length - 1];
    }
    const whole = weights.map((weight) => {
      const scaled = (sum ? weight * (1 / sum) : weight) * (1 << FRACTION_BITS);
      return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
    return { first, whole };
  });
}

const clip = (sum) => Math.min(255, Math.max(0, sum >> FRACTION_BITS));

// Rows of bytes, each with its weight -> one row.
function weigh(rows, weights) {
  const found = new Uint8Array(rows[0].length);
  for (let x = 0; x < found.length; x++) {
    let sum = 1 << (FRACTION_BITS - 1);
    for (let i = 0; i < weights.length; i++) sum += rows[i][x] * weights[i];
    found[x] = clip(sum);
  }
  return found;
}

// A row of W pixels of C bytes -> one of as many pixels as there are windows.
function narrow(row, windows, channels) {
  const found = new Uint8Array(windows.length * channels);
  for (let x = 0, to = 0; x < windows.length; x++) {
    const { first, whole } = windows[x];
    for (let c = 0; c < channels; c++) {
      let sum = 1 << (FRACTION_BITS - 1);
      for (let i = 0, from = first * channels + c; i < whole.length; i++, from += channels) sum += row[from] * whole[i];
      found[to++] = clip(sum);
    }
  }
  return found;
}

// 3 W bytes -> W, as Pillow weighs them.
function greyen(colours) {
  const found = new Uint8Array(colours.length / 3);
  for (let x = 0, from = 0; x < found.length; x++, from += 3) {
    found[x] = (colours[from] * 19595 + colours[from + 1] * 38470 + colours[from + 2] * 7471 + 0x8000) >> 16;
  }
  return found;
}

// An image -> (R, R, C) bytes. Between the two passes values are rounded, so that their order tells: newer versions of
// Pillow begin with the columns where a tall image shrinks.
function makeSquare(image, { resize: side, fit, interpolation, mean }, tallFirst) {
  const { width, height } = image, channels = mean.length, filter = FILTERS[interpolation];
  const cut = Math.min(width, height), whole = fit === "squash" || width === height;
  const left = whole ? 0 : (width - cut) / 2, top = whole ? 0 : (height - cut) / 2;
  const right = whole ? width : left + cut, bottom = whole ? height : top + cut;
  const columns = planWindows(width, left, right, side, filter);
  const across = width === side && !left ? (row) => row : (row) => narrow(row, columns, channels);
  const down = height !== side || top > 0;
  const lines = down
    ? planWindows(height, top, bottom, side, filter)
    : Array.from({ length: side }, (_, y) => ({ first: y, whole: null }));
  const last = tallFirst && down && height > side && height - side > 2 * (width - side);
  const line = (y) => (channels === 3 ? image.rows(y, y + 1) : greyen(image.rows(y, y + 1)));
  const square = new Uint8Array(side * side * channels);
  const held = [];
  let first = lines[0].first;
  lines.forEach(({ first: start, whole: weights }, y) => {
    for (; first < start; first++) held.shift();
    for (let next = first + held.length; next < start + (weights ? weights.length : 1); next++) {
      held.push(last ? line(next) : across(line(next)));
    }
    const row = weights ? weigh(held, weights) : held[0];
    square.set(last ? across(row) : row, y * side * channels);
  });
  return square;
}

// (R, R, C) -> (C, S, S): the centre.
function cropCentre(square, { resize: side, image_size: size, mean }) {
  const channels = mean.length, start = (side - size) >> 1;
  const pixels = new Uint8Array(channels * size * size);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = start; y < start + size; y++) {
      for (let x = start; x < start + size; x++) pixels[to++] = square[(y * side + x) * channels + c];
    }
  }
  return pixels;
}

// An image -> what the network sees.
function prepare(image) {
  return cropCentre(makeSquare(image, about.preprocessing, about.tallFirst), about.preprocessing);
}

// ---- the network, and what its numbers are worth

async function runNetwork(pixels) {
  const { channels, size } = about;
  const images = new ort.Tensor("uint8", pixels, [1, channels, size, size]);
  const wanted = references ? ["logits", "embedding"] : ["logits"];
  const found = await session.run({ images }, wanted);
  return { logits: found.logits.data, embedding: found.embedding && found.embedding.data };
}

function findProbabilities(logits) {
  if (about.thresholds) return Array.from(logits, (z) => Math.fround(0.5 * (1 + Math.tanh(0.5 * z))));
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Array.from(logits, (z) => Math.exp(z / about.temperature - highest / about.temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.fround(weight / sum));
}

// 1 less the cosine between the embedding (D,) and its fifth nearest reference.
function measureNovelty(embedding) {
  const width = embedding.length, count = references.length / width;
  const length = Math.max(Math.sqrt(embedding.reduce((sum, value) => sum + value * value, 0)), 1e-12);
  const likeness = new Float64Array(count);
  for (let m = 0; m < count; m++) {
    let sum = 0;
    for (let d = 0, from = m * width; d < width; d++) sum += embedding[d] * references[from + d];
    likeness[m] = sum / length;
  }
  likeness.sort();
  return Math.fround(1 - likeness[count - Math.min(NEIGHBOURS, count)]);
}

function judge({ logits, embedding }) {
  const probabilities = findProbabilities(logits);
  const order = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  const labels = about.thresholds ? order.filter((k) => probabilities[k] >= about.thresholds[k]) : order.slice(0, 1);
  let set = [], unsure = null;
  const promise = about.promise;
  if (promise) {
    const most = promise.quantile === null ? Infinity : promise.quantile;
    set = order.filter((k, rank) => rank === 0 || 1 - probabilities[k] <= most);
    if (probabilities[order[0]] < promise.threshold) unsure = "low confidence";
    if (references && promise.novelty !== null && measureNovelty(embedding) > promise.novelty) {
      unsure = "unlike the training images";
    }
  }
  return { probabilities, order, labels, set, unsure };
}

// ---- a check at the start: a picture that both sides can compute, and what Python found for it

function drawPattern(width, height) {
  const rows = (top, bottom) => {
    const found = new Uint8Array((bottom - top) * width * 3);
    for (let y = top, to = 0; y < bottom; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < 3; c++) found[to++] = (5 * x + 3 * y + 80 * c + ((x * y) % 61)) & 255;
      }
    }
    return found;
  };
  return { width, height, rows };
}

function adler32(bytes) {
  let low = 1, high = 0;
  for (const byte of bytes) {
    low = (low + byte) % 65521;
    high = (high + low) % 65521;
  }
  return high * 65536 + low;
}

// Some browsers alter the pixels that a page reads, so that it can't recognise them.
function readsTruly() {
  const canvas = new OffscreenCanvas(64, 64), context = canvas.getContext("2d", { willReadFrequently: true });
  const given = drawPattern(64, 64).rows(0, 64), data = context.createImageData(64, 64);
  for (let i = 0; i < 64 * 64; i++) data.data.set([given[3 * i], given[3 * i + 1], given[3 * i + 2], 255], 4 * i);
  context.putImageData(data, 0, 0);
  const read = context.getImageData(0, 0, 64, 64).data;
  return data.data.every((value, i) => value === read[i]);
}

async function checkItself() {
  const { pattern } = about;
  const pixels = prepare(drawPattern(pattern.width, pattern.height));
  const { logits } = await runNetwork(pixels);
  const largest = pattern.logits.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const off = pattern.logits.reduce((most, value, k) => Math.max(most, Math.abs(value - logits[k])), 0);
  return { pixels: adler32(pixels) === pattern.adler32, share: off / largest, reads: readsTruly() };
}

// ---- the page asks

async function start(data) {
  about = data.about;
  // Named here: in a page opened as a file, a worker may not import what the page has named.
  ort = await import(URL.createObjectURL(new Blob([data.runtime], { type: "text/javascript" })));
  ort.env.wasm.numThreads = 1; // more need headers that a file has not
  ort.env.wasm.wasmBinary = await unpack(data.wasm);
  session = await ort.InferenceSession.create(await unpack(data.network), { executionProviders: ["wasm"] });
  if (data.references.length) references = widenFloats(await unpack(data.references));
  return checkItself();
}

async function isJpeg(file) {
  const [first, second, third] = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  return first === 0xff && second === 0xd8 && third === 0xff;
}

async function makeThumbnail(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const side = (length) => Math.max(1, Math.round(length * scale));
  const size = { resizeWidth: side(bitmap.width), resizeHeight: side(bitmap.height), resizeQuality: "medium" };
  return createImageBitmap(bitmap, size);
}

async function classify(file) {
  const began = performance.now();
  let image;
  try {
    if (!file.size) throw new Error();
    image = await openImage(file);
  } catch {
    return { error: file.size ? "is damaged, or no image that this browser can read" : "is empty" };
  }
  try {
    const { preprocessing } = about;
    const scale = (await isJpeg(file)) ? chooseScale(image, preprocessing.oversample * preprocessing.resize) : 1;
    const answer = judge(await runNetwork(prepare(scale > 1 ? shrink(image, scale) : image)));
    const milliseconds = performance.now() - began;
    return { ...answer, milliseconds, thumbnail: await makeThumbnail(image.bitmap) };
  } finally {
    image.bitmap.close();
  }
}

// One after the other: a network that runs twice at once needs twice the memory.
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      if (data.kind === "start") self.postMessage({ kind: "ready", check: await start(data) });
      else {
        const answer = await classify(data.file);
        self.postMessage({ kind: "answer", id: data.id, ...answer }, answer.thumbnail ? [answer.thumbnail] : []);
      }
    } catch (error) {
      const reason = String((error && error.message) || error);
      if (data.kind === "start") self.postMessage({ kind: "failed", reason });
      else self.postMessage({ kind: "answer", id: data.id, error: `can't be classified: ${reason}` });
    }
  });
};
