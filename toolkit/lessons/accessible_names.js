// Stock sliders, Play buttons and progress bars have no accessible name: copy the visible label onto them,
// now and whenever something changes inside the view that holds this widget. And JupyterLab takes the arrow keys of a
// list or a row of options for its own, to go to another cell: let them through.
const ICONS = { "fa-play": "play", "fa-pause": "pause", "fa-stop": "stop and go back", "fa-retweet": "repeat" };
const set = (node, name, value) => node && node.getAttribute(name) !== value && node.setAttribute(name, value);

function nameAll(root) {
  // The sentence is replaced as a whole: only a container that stays is read aloud.
  for (const status of root.querySelectorAll(".toolkit-status")) set(status, "aria-live", "polite");
  for (const box of root.querySelectorAll(".widget-slider, .widget-play, .widget-hprogress, .widget-vprogress")) {
    const label = (box.querySelector(".widget-label")?.textContent || box.title || "").trim();
    const handles = box.querySelectorAll(".noUi-handle");
    handles.forEach((handle, i) => set(handle, "aria-label", label + (handles.length > 1 ? [" (low)", " (high)"][i] : "")));
    const readout = box.querySelector(".widget-readout");
    if (readout?.isContentEditable) { set(readout, "role", "textbox"); set(readout, "aria-label", label + ", value"); }
    // The handle's own number has one decimal; the readout has as many as the step.
    const values = (readout?.textContent || "").split(" – ");
    if (values[0].trim() && values.length === Math.max(handles.length, 1)) {
      handles.forEach((handle, i) => set(handle, "aria-valuetext", values[i].trim()));
    }
    for (const button of box.matches(".widget-play") ? box.querySelectorAll("button") : []) {
      // The buttons show icons alone, and the first one's changes when it is pressed.
      const does = Object.entries(ICONS).find(([icon]) => button.querySelector("." + icon))?.[1] || button.title || "play";
      set(button, "aria-label", label ? label + ": " + does : does);
    }
    const bar = box.querySelector(".progress-bar");
    set(bar, "role", "progressbar");
    set(bar, "aria-label", label || "progress");
    set(bar, "aria-valuenow", String(Math.round(parseFloat(bar?.style.width) || 0)));
  }
}

function keepKeys(event) {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
  if (plain && event.target.matches("select, input[type=radio]")) event.stopPropagation();
}

function render({ el }) {
  el.style.display = "none";
  let frame = 0, watch, view;
  const start = () => {
    const root = el.closest(".toolkit-view");
    if (!root) { frame = requestAnimationFrame(start); return; } // not in the page yet
    watch = new MutationObserver(() => nameAll(root));
    watch.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["style", "title", "class"] });
    nameAll(root);
    view = root;
    view.addEventListener("keydown", keepKeys);
  };
  start();
  return () => { cancelAnimationFrame(frame); watch?.disconnect(); view?.removeEventListener("keydown", keepKeys); };
}

export default { render };
