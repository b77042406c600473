/** The model that is asked: a conversation goes on with its own, a new one with the last choice. */
import { effect } from '@preact/signals';
import { current } from './chat';
import { setPrefs } from './prefs';
import { conversationModel, gate } from './session';

// Not before: the conversation of the address is read by whoever first asks for it.
effect(() => {
  if (gate.value === 'ready') conversationModel.value = current.value.model.value;
});

export function chooseModel(id: string): void {
  setPrefs({ model: id });
  current.peek().chosenModel.value = id;
}
