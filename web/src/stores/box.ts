/** The box that is on the page, for whoever sends the person back to it. */
export const composerBox: { current: HTMLTextAreaElement | null } = { current: null };
