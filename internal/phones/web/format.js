// Words for times and for what becomes of a challenge.

const two = (n) => String(n).padStart(2, "0");

// clock is the local time of day.
export function clock(iso) {
  const at = new Date(iso);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

// remaining is so many milliseconds as minutes and seconds; never below zero.
export function remaining(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60
    ? `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`
    : `${minutes}:${two(seconds % 60)}`;
}

// word shows a status, an outcome or a step, as in Approved.
export function word(code) {
  return code.charAt(0).toUpperCase() + code.slice(1);
}
