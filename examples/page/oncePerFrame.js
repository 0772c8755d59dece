// @ts-check
/**
 * An answer may have thousands of events a second; a screen has sixty frames.
 * @param {() => void} draw
 */
export function oncePerFrame(draw) {
  let frame = 0;
  const now = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    draw();
  };
  return {
    soon() {
      frame ||= requestAnimationFrame(now);
    },
    now,
  };
}
