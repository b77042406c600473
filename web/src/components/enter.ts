/** What the Enter key means in a box whose text can be sent: the same in every such box. */
import { coarse, prefs } from '../stores/prefs';

const compositionEndMs = 30; // Safari sends the Enter that ends a composition after its end

/** True if this Enter means "send"; `composedAt`: the time stamp of the last composition's end. */
export function enterSends(event: KeyboardEvent, composedAt: number): boolean {
  if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229) return false;
  if (event.timeStamp - composedAt < compositionEndMs) return false;
  if (event.ctrlKey || event.metaKey) return true;
  if (event.shiftKey || event.altKey || coarse.matches) return false;
  return prefs.peek().enter === 'send';
}
