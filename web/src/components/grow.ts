/**
 * A textarea as high as its text, up to the most that its style allows. A key that begins no line
 * and takes nothing away reads one number of the box itself; only another height lays out what
 * stands around it. (`field-sizing: content` lays out the whole page at each key.) Its parent keeps
 * what it holds at its start, not stretched.
 */
const restMs = 300; // since the last key

export class GrowingBox {
  private length = 0;
  private width: number;
  private timer = 0;
  private readonly observer: ResizeObserver;

  constructor(private readonly area: HTMLTextAreaElement) {
    this.width = area.clientWidth;
    this.observer = new ResizeObserver(() => {
      if (area.clientWidth === this.width) return;
      this.width = area.clientWidth;
      this.fit();
    });
    this.observer.observe(area);
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.observer.disconnect();
  }

  /** After a key. A longer text of fewer lines is found to be lower only when the keys rest. */
  typed(): void {
    const shorter = this.area.value.length < this.length;
    this.length = this.area.value.length;
    window.clearTimeout(this.timer);
    if (shorter) return this.shrink();
    this.grow();
    if (this.grown) this.timer = window.setTimeout(() => this.shrink(), restMs);
  }

  /** After any change. The frame around it holds still meanwhile: nothing else is moved. */
  fit(): void {
    const frame = this.area.parentElement!;
    frame.style.minHeight = `${frame.offsetHeight}px`;
    this.length = this.area.value.length;
    this.area.style.height = '';
    this.grow();
    frame.style.minHeight = '';
  }

  private get grown(): boolean {
    return this.area.style.height !== '';
  }

  private shrink(): void {
    if (this.grown) this.fit();
  }

  private grow(): void {
    const { area } = this;
    if (area.scrollHeight <= area.clientHeight) return;
    // Where the style allows no more, this is the height that it has already.
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  }
}
