/**
 * The direction of a block of prose: the majority among its first 40 strong letters, so that it is
 * fixed early and never flips while text arrives. Code and mathematics are not counted.
 */
import type { Direction } from './tree';

const lettersCounted = 40;
const rightToLeft =
  /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const letter = /\p{L}/u;

export class DirectionCount {
  private left = 0;
  private right = 0;

  /** Counts the letters of `text`; false once enough letters are in. */
  add(text: string): boolean {
    for (const char of text) {
      if (this.left + this.right >= lettersCounted) return false;
      if (!letter.test(char)) continue;
      if (rightToLeft.test(char)) this.right++;
      else this.left++;
    }
    return this.left + this.right < lettersCounted;
  }

  get direction(): Direction {
    return this.right > this.left ? 'rtl' : 'ltr';
  }
}

export function directionOf(text: string): Direction {
  const count = new DirectionCount();
  count.add(text);
  return count.direction;
}
