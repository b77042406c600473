/** Small helpers on the words of a conversation. */

const titleMax = 60;

/** A title is the question's first 60 characters until it is renamed. */
export function titleOf(question: string): string {
  const line = question.trim().replace(/\s+/g, ' ');
  const characters = [...line];
  if (characters.length <= titleMax) return line;
  return `${characters.slice(0, titleMax - 1).join('')}…`;
}

/** The newest sentence of a text, for the one dimmed line under "Thinking". */
export function newestSentence(text: string): string {
  const tail = text.slice(-400).replace(/\s+/g, ' ').trim();
  const parts = tail.split(/(?<=[.!?…。！？])\s+/);
  const last = parts[parts.length - 1] ?? '';
  return last.length < 12 && parts.length > 1 ? parts.slice(-2).join(' ') : last;
}
