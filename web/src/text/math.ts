/**
 * Mathematics in Markdown: a micromark extension and its mdast side.
 *
 * Delimiters: \( \), \[ \], $$ $$, \begin{env} \end{env} (at a line's start), and $x$ under
 * Pandoc's rule: nothing blank inside next to a dollar, no digit after the closing one, the first
 * unescaped dollar decides. So "$5 and $10" stay prices. The constructs stand ahead of character
 * escapes; code keeps its own precedence, so there is no mathematics inside code.
 *
 * A formula that is never closed is not a formula: the construct fails and the text stays text.
 * Block forms may not contain a blank line, which bounds how far a failing attempt can run.
 */
import type {
  Code,
  Construct,
  Effects,
  Extension,
  State,
  TokenizeContext,
} from 'micromark-util-types';
import type { CompileContext, Extension as FromMarkdown, Token } from 'mdast-util-from-markdown';

declare module 'micromark-util-types' {
  interface TokenTypeMap {
    mathInline: 'mathInline';
    mathDisplay: 'mathDisplay';
    mathBlock: 'mathBlock';
    mathMark: 'mathMark';
    mathData: 'mathData';
  }
}

const dollar = 36;
const backslash = 92;
const environments = new Set(
  (
    'align alignat aligned array bmatrix cases eqnarray equation flalign gather gathered matrix ' +
    'multline pmatrix split vmatrix'
  ).split(' '),
);
const environmentNameMax = 12;

const isEol = (code: Code): boolean => code !== null && code < -2;
const isBlank = (code: Code): boolean => code === -2 || code === -1 || code === 32;
const isDigit = (code: Code): boolean => code !== null && code >= 48 && code <= 57;

type Kind = 'dollar' | 'dollars' | 'paren' | 'bracket' | 'environment';

/** The closing mark of `kind`, as a partial construct. */
function closer(kind: Kind, environment: string): Construct {
  const marks: Record<Kind, string> = {
    dollar: '$',
    dollars: '$$',
    paren: '\\)',
    bracket: '\\]',
    environment: `\\end{${environment}}`,
  };
  const mark = marks[kind];
  return {
    partial: true,
    tokenize(effects: Effects, ok: State, nok: State): State {
      const type = kind === 'environment' ? 'mathData' : 'mathMark';
      let at = 0;
      const next: State = (code) => {
        if (code !== mark.charCodeAt(at)) return nok(code);
        if (at === 0) effects.enter(type);
        effects.consume(code);
        if (++at < mark.length) return next;
        effects.exit(type);
        return kind === 'dollar' ? (after) => (isDigit(after) ? nok(after) : ok(after)) : ok;
      };
      return next;
    },
  };
}

function tokenizeText(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
  const self = this;
  let kind: Kind = 'dollar';
  let inData = false;
  let previous: Code = null;

  return start;

  function start(code: Code): State | undefined {
    if (code === dollar && self.previous === dollar) return nok(code);
    effects.enter('mathInline');
    effects.enter('mathMark');
    effects.consume(code);
    return code === dollar ? afterDollar : afterBackslash;
  }
  function afterDollar(code: Code): State | undefined {
    if (code === dollar) {
      kind = 'dollars';
      effects.consume(code);
      return (next) => (next === dollar ? nok(next) : opened(next));
    }
    if (code === null || isBlank(code) || isEol(code)) return nok(code);
    return opened(code);
  }
  function afterBackslash(code: Code): State | undefined {
    if (code !== 40 && code !== 91) return nok(code);
    kind = code === 40 ? 'paren' : 'bracket';
    effects.consume(code);
    return opened;
  }
  function opened(code: Code): State | undefined {
    effects.exit('mathMark');
    return body(code);
  }
  function leaveData(): void {
    if (inData) effects.exit('mathData');
    inData = false;
  }
  function body(code: Code): State | undefined {
    if (code === null) return nok(code);
    if (isEol(code)) {
      leaveData();
      effects.enter('lineEnding');
      effects.consume(code);
      effects.exit('lineEnding');
      previous = code;
      return body;
    }
    if (code === dollar && kind === 'dollar') {
      if (previous === null || isBlank(previous) || isEol(previous)) return nok(code);
      leaveData();
      return effects.attempt(closer(kind, ''), done, nok)(code);
    }
    const mayClose = kind === 'dollars' ? code === dollar : kind !== 'dollar' && code === backslash;
    if (mayClose && previous !== null) {
      leaveData();
      return effects.attempt(closer(kind, ''), done, data)(code);
    }
    return data(code);
  }
  function data(code: Code): State | undefined {
    if (!inData) effects.enter('mathData');
    inData = true;
    effects.consume(code);
    previous = code;
    return code === backslash ? escaped : body;
  }
  function escaped(code: Code): State | undefined {
    if (code === null || isEol(code)) return body(code);
    return data(code) && body;
  }
  function done(code: Code): State | undefined {
    const token = effects.exit('mathInline');
    if (kind === 'dollars' || kind === 'bracket') token.type = 'mathDisplay';
    return ok(code);
  }
}

function tokenizeBlock(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
  const self = this;
  let kind: Kind = 'dollars';
  let environment = '';
  let inData = false;

  return start;

  function start(code: Code): State | undefined {
    effects.enter('mathBlock');
    if (code === dollar) {
      effects.enter('mathMark');
      effects.consume(code);
      return secondDollar;
    }
    effects.enter('mathData');
    inData = true;
    effects.consume(code);
    return afterBackslash;
  }
  function secondDollar(code: Code): State | undefined {
    if (code !== dollar) return nok(code);
    effects.consume(code);
    return (next) => {
      if (next === dollar) return nok(next);
      effects.exit('mathMark');
      return body(next);
    };
  }
  function afterBackslash(code: Code): State | undefined {
    if (code === 91) {
      kind = 'bracket';
      effects.consume(code);
      effects.exit('mathData').type = 'mathMark';
      inData = false;
      return body;
    }
    kind = 'environment';
    return begin(0)(code);
  }
  function begin(at: number): State {
    return (code) => {
      if (code !== 'begin{'.charCodeAt(at)) return nok(code);
      effects.consume(code);
      return at + 1 < 6 ? begin(at + 1) : name;
    };
  }
  function name(code: Code): State | undefined {
    if (code === 125) {
      if (!environments.has(environment.replace(/\*$/, ''))) return nok(code);
      effects.consume(code);
      return body;
    }
    if (code === null || code < 0 || environment.length > environmentNameMax) return nok(code);
    environment += String.fromCharCode(code);
    effects.consume(code);
    return name;
  }
  function leaveData(): void {
    if (inData) effects.exit('mathData');
    inData = false;
  }
  function body(code: Code): State | undefined {
    if (code === null) return nok(code);
    if (isEol(code)) {
      // In a paragraph only the first line is asked about: the formula itself is tried afterwards.
      if (self.interrupt) return ok(code);
      leaveData();
      effects.enter('lineEnding');
      effects.consume(code);
      effects.exit('lineEnding');
      return lineStart;
    }
    if (code === (kind === 'dollars' ? dollar : backslash)) {
      leaveData();
      return effects.attempt(closer(kind, environment), closed, data)(code);
    }
    return data(code);
  }
  function lineStart(code: Code): State | undefined {
    if (self.parser.lazy[self.now().line]) return nok(code);
    return blank(code);
  }
  function blank(code: Code): State | undefined {
    if (code === null || isEol(code)) return nok(code);
    if (!isBlank(code)) return body(code);
    if (!inData) effects.enter('mathData');
    inData = true;
    effects.consume(code);
    return blank;
  }
  function data(code: Code): State | undefined {
    if (!inData) effects.enter('mathData');
    inData = true;
    effects.consume(code);
    return code === backslash ? escaped : body;
  }
  function escaped(code: Code): State | undefined {
    if (code === null || isEol(code)) return body(code);
    return data(code) && body;
  }
  function closed(code: Code): State | undefined {
    if (isBlank(code)) {
      effects.enter('whitespace');
      return space(code);
    }
    return end(code);
  }
  function space(code: Code): State | undefined {
    if (isBlank(code)) {
      effects.consume(code);
      return space;
    }
    effects.exit('whitespace');
    return end(code);
  }
  function end(code: Code): State | undefined {
    if (code !== null && !isEol(code)) return nok(code);
    effects.exit('mathBlock');
    return ok(code);
  }
}

/** The syntax half, for micromark. */
export function mathSyntax(): Extension {
  const text: Construct = { name: 'mathText', tokenize: tokenizeText };
  const flow: Construct = { name: 'mathFlow', tokenize: tokenizeBlock, concrete: true };
  return {
    text: { [dollar]: text, [backslash]: text },
    flow: { [dollar]: flow, [backslash]: flow },
  };
}

export interface MathNode {
  type: 'math' | 'inlineMath';
  display: boolean;
  value: string;
}

/** The tree half, for mdast-util-from-markdown: nodes of type `math` and `inlineMath`. */
export function mathFromMarkdown(): FromMarkdown {
  function enter(type: MathNode['type'], display: boolean) {
    return function (this: CompileContext, token: Token): void {
      this.enter({ type, display, value: '' } as never, token);
      this.buffer();
    };
  }
  function exit(this: CompileContext, token: Token): undefined {
    const value = this.resume();
    const node = this.stack[this.stack.length - 1] as unknown as MathNode;
    this.exit(token);
    node.value = value.trim();
  }
  function data(this: CompileContext, token: Token): undefined {
    this.config.enter.data!.call(this, token);
    this.config.exit.data!.call(this, token);
  }
  return {
    enter: {
      mathInline: enter('inlineMath', false),
      mathDisplay: enter('inlineMath', true),
      mathBlock: enter('math', true),
    },
    exit: { mathInline: exit, mathDisplay: exit, mathBlock: exit, mathData: data },
  };
}
