const SVG = "http://www.w3.org/2000/svg";

/** Paths in a 16-px box, drawn with a stroke of 1.5. A leading "f" means filled. @type {Record<string, string>} */
const PATHS = {
  file: "M4 1.75h5L12.5 5.3v8.95H4zM9 1.75V5.5h3.5",
  right: "M6 3.5 10.5 8 6 12.5",
  down: "M3.5 6 8 10.5 12.5 6",
  check: "M3 8.5 6.5 12 13 4.5",
  arrow: "M2.5 8h11M9.5 4l4 4-4 4",
  equals: "M3 5.75h10M3 10.25h10",
  skip: "M8 2.25a5.75 5.75 0 1 0 0 11.5a5.75 5.75 0 1 0 0-11.5M4 12 12 4",
  merge: "M2 4h3l4 4h5M2 12h3l4-4M11 5l3 3-3 3",
  hash: "M5.75 2.5 4.5 13.5M11.5 2.5l-1.25 11M2.5 5.75h11.5M2 10.25h11.5",
  outside: "M3 8h.5M7.75 8h.5M12.5 8h.5",
  octagon: "M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4zM8 4.75v4M8 10.9v.4",
  triangle: "M8 2 14.5 13.5h-13zM8 6.25v3.5M8 11.4v.4",
  info: "M8 1.75a6.25 6.25 0 1 0 0 12.5a6.25 6.25 0 1 0 0-12.5M8 7.25v4M8 4.7v.4",
  wand: "M2.5 13.5 9.5 6.5M11.5 1.75v3M10 3.25h3M13.25 7v2.5M12 8.25h2.5M6.5 2.5v2M5.5 3.5h2",
  question: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M8 12v.5",
  swap: "M2.5 5.25h10M9.5 2.5l3 2.75-3 2.75M13.5 10.75h-10M6.5 8l-3 2.75 3 2.75",
  missing: "M8 2.25a5.75 5.75 0 0 1 2 .4M12.6 4.6a5.75 5.75 0 0 1 1.1 2.4M13.4 10a5.75 5.75 0 0 1-1.6 2.2M9.6 13.5a5.75 5.75 0 0 1-2.6.1M4.4 12.5a5.75 5.75 0 0 1-1.6-2M2.3 7.5a5.75 5.75 0 0 1 .9-2.6M5 3.1a5.75 5.75 0 0 1 1-.5",
  differs: "M3 5.75h10M3 10.25h10M10.5 2.5l-5 11",
  plus: "M8 2.75v10.5M2.75 8h10.5",
  x: "M3.75 3.75l8.5 8.5M12.25 3.75l-8.5 8.5",
  copy: "M5.75 5.75h7.5v7.5h-7.5zM3.5 10.25H2.75v-7.5h7.5v.75",
  undo: "M5.5 2.5 2.5 5.5l3 3M2.75 5.5h6.5a4 4 0 0 1 0 8H6",
  redo: "M10.5 2.5l3 3-3 3M13.25 5.5h-6.5a4 4 0 0 0 0 8H10",
  download: "M8 2.5v7.5M4.5 6.75 8 10.25l3.5-3.5M2.75 13.25h10.5",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M10.3 10.3l3.7 3.7",
  dots: "fM3 7h2v2H3zM7 7h2v2H7zM11 7h2v2h-2z",
  grip: "fM5 3h2v2H5zM9 3h2v2H9zM5 7h2v2H5zM9 7h2v2H9zM5 11h2v2H5zM9 11h2v2H9z",
};

/** @param {string} name @returns {SVGSVGElement} */
export function icon(name) {
  const path = PATHS[name];
  if (!path) throw new Error(`there is no icon ${name}`);
  const filled = path.startsWith("f");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", filled ? "wb-icon wb-filled" : "wb-icon");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", filled ? path.slice(1) : path);
  svg.append(line);
  return svg;
}

/** The shape that goes with each status, so that colour is never alone. @type {Record<string, string>} */
export const STATUS_ICONS = {
  remapped: "arrow",
  reindexed: "hash",
  unchanged: "equals",
  skipped: "skip",
  collision: "merge",
  outside: "outside",
};
