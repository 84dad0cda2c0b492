/** What the keys do. */

/**
 * @typedef {object} Actions
 * @property {(by: number) => void} move go so many entries down
 * @property {(screens: number) => void} turn go so many screens down
 * @property {() => void} toNewest
 * @property {() => void} toOldest
 * @property {() => void} open show the whole entry
 * @property {() => void} leave close or leave what is open
 * @property {() => void} pause
 * @property {() => void} filter
 * @property {() => void} insert
 * @property {() => void} help
 */

const WRITING = "input, textarea, select";

/**
 * Let the keys do what they do.
 *
 * @param {Actions} actions
 * @param {HTMLElement} list where the arrow keys belong to the list
 */
export function listenToKeys(actions, list) {
  /** @type {Record<string, () => void>} */
  const everywhere = {
    j: () => actions.move(1),
    k: () => actions.move(-1),
    p: actions.pause,
    i: actions.insert,
    "/": actions.filter,
    "?": actions.help,
    Escape: actions.leave,
  };
  /** @type {Record<string, () => void>} */
  const inList = {
    ArrowDown: () => actions.move(1),
    ArrowUp: () => actions.move(-1),
    PageDown: () => actions.turn(1),
    PageUp: () => actions.turn(-1),
    Home: actions.toNewest,
    End: actions.toOldest,
  };
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  });

  /** @param {KeyboardEvent} event */
  function actionOf({ key, target, ctrlKey, metaKey, altKey, defaultPrevented }) {
    if (defaultPrevented || ctrlKey || metaKey || altKey) return null;
    if (!(target instanceof Element)) return null;
    // A modal dialog has keys of its own, and Escape closes it.
    if (document.querySelector("dialog:modal")) return null;
    // Escape leaves the line that one writes in: the other keys are to be had again.
    if (target.matches(WRITING)) {
      return key === "Escape" && target.matches("input") ? () => list.focus() : null;
    }
    if (key === "Enter" && target.matches(".row")) return actions.open;
    const belongs = target === document.body || list.contains(target);
    const action = belongs && Object.hasOwn(inList, key) ? inList[key] : null;
    return action ?? (Object.hasOwn(everywhere, key) ? everywhere[key] : null);
  }
}
