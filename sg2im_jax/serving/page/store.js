// The scene of now, and those before and after it.

const MOST_STEPS = 300;

export class Store {
  #steps;
  #place = 0;
  #listeners = [];

  constructor(scene) {
    this.#steps = [{ scene, label: 'start' }];
  }

  get scene() {
    return this.#steps[this.#place].scene;
  }

  get canUndo() {
    return this.#place > 0;
  }

  get canRedo() {
    return this.#place < this.#steps.length - 1;
  }

  /** The label of the step that undo would take back, or redo bring again. */
  get undoLabel() {
    return this.canUndo ? this.#steps[this.#place].label : '';
  }

  get redoLabel() {
    return this.canRedo ? this.#steps[this.#place + 1].label : '';
  }

  /** The scenes of all steps up to now. */
  get past() {
    return this.#steps.slice(0, this.#place + 1).map((step) => step.scene);
  }

  listen(listener) {
    this.#listeners.push(listener);
  }

  /** A step more; what had been undone is gone. */
  commit(scene, label) {
    this.#steps = [...this.#steps.slice(0, this.#place + 1), { scene, label }].slice(-MOST_STEPS);
    this.#place = this.#steps.length - 1;
    this.#tell();
  }

  /** The same step with another scene, as when its picture has come. */
  amend(scene) {
    this.#steps[this.#place] = { ...this.#steps[this.#place], scene };
    this.#tell();
  }

  undo() {
    if (this.canUndo) this.#place--;
    this.#tell();
  }

  redo() {
    if (this.canRedo) this.#place++;
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener(this.scene);
  }
}
