"""GGUF files whose weights make the model say one fixed text: the real program runs them as any
other model, with the vocabulary and the chat template of a family.

How a model of one layer follows a script (hidden size 128, one token one dimension):

    embedding    token t -> e[t]; the bytes that a prompt may end with share one "start" dimension
    attention    queries and keys are zero, so every position weighs the same; the values of a few
                 tokens go into dimensions of their own: "the result mark was seen", "the first
                 call was written". So these dimensions are 0 or something positive
    feed-forward zero
    output       next(t): 200. Where t has two successors the second has 100 + 200 * seen

Only the last token and what has been seen count, so a script must not repeat a token with two
successors unless a token that occurs once stands between them (build() finds it)."""
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
HIDDEN = 128
BITS = 32  # dimensions 0 .. 31 hold what was seen, the others tokens
START = BITS
RESULT = "§"  # what results of tools must contain: its second byte marks them as seen
REACH = 6000.0  # a token seen once is worth 1 in a prompt of so many tokens
STRONG, WEAK, NEVER = 200.0, 100.0, -50000.0


def byte_symbols():
    """The printable character that stands for each byte in a vocabulary."""
    own = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


SYMBOLS = byte_symbols()


def mapped(text):
    return "".join(SYMBOLS[byte] for byte in text.encode())


class Model:
    def __init__(self, template, marks, first, final, bos, eos, forced=None):
        """`marks`: tokens of their own. `first`, `final`: what is said before and after the
        results, as lists of texts, of which those in `marks` are marks and each other one token.
        `forced`: {byte: list}, the rest of an answer whose opening, ending with it, was forced."""
        self.template = template
        self.tokens = list(SYMBOLS)
        self.types = [1] * 256
        self.ids = {}
        for mark in dict.fromkeys([bos, eos, *marks]):
            self.add(mark, mark, 3)
        self.bos, self.eos = self.ids[bos], self.ids[eos]
        self.dimension = {}  # id -> its own; others share START
        self.seen = {}  # id -> bit
        self.outputs = {}  # id -> [(dimension, weight)]
        self.own(SYMBOLS.index(mapped(RESULT)[1]))
        self.result_bit = self.bit(SYMBOLS.index(mapped(RESULT)[1]))
        self.build(None, first, None)
        self.build(None, final, self.result_bit)
        for byte, rest in (forced or {}).items():
            self.own(ord(byte))
            self.build(ord(byte), rest, None)

    def add(self, text, stored, kind):
        if text not in self.ids:
            self.ids[text] = len(self.tokens)
            self.tokens.append(stored)
            self.types.append(kind)
        return self.ids[text]

    def own(self, token):
        if token not in self.dimension:
            self.dimension[token] = START + 1 + len(self.dimension)
            assert self.dimension[token] < HIDDEN
        return self.dimension[token]

    def bit(self, token):
        self.own(token)
        return self.seen.setdefault(token, len(self.seen))

    def build(self, start, script, bit):
        chain = [self.add(text, mapped(text), 1) for text in script] + [self.eos]
        current = START if start is None else self.dimension[start]
        before = {current: (-1, bit)} if bit is None else {}
        for at, token in enumerate(chain):
            if at > 0:
                current = self.own(chain[at - 1])
            targets = self.outputs.setdefault(token, {})
            if at == 0 and bit is not None:
                targets[current] = WEAK
                targets[bit] = STRONG
            elif current in before and chain[before[current][0] + 1] != token:
                # The second successor: told by a token that occurs once in between.
                first = before[current][0]
                between = [t for t in chain[first + 1:at] if chain.count(t) == 1]
                targets[current] = WEAK
                targets[self.bit(between[0])] = STRONG
            elif targets.get(current) != STRONG:
                targets[current] = STRONG
            before.setdefault(current, (at - 1, None))

    def matrices(self):
        vocabulary = len(self.tokens)
        embedding = [[0.0] * HIDDEN for _ in range(vocabulary)]
        output = [[0.0] * HIDDEN for _ in range(vocabulary)]
        for token in range(vocabulary):
            embedding[token][self.dimension.get(token, START)] = 1.0
            for at in range(BITS, HIDDEN):
                output[token][at] = NEVER
            for at, weight in self.outputs.get(token, {}).items():
                output[token][at] = weight
        zero = [[0.0] * HIDDEN for _ in range(HIDDEN)]
        value = [[0.0] * HIDDEN for _ in range(HIDDEN)]
        back = [[0.0] * HIDDEN for _ in range(HIDDEN)]
        for token, bit in self.seen.items():
            value[bit][self.dimension[token]] = 1.0
            back[bit][bit] = REACH / HIDDEN ** 0.5  # the norm before attention made it so large
        return embedding, output, zero, value, back

    def write(self, path):
        embedding, output, zero, value, back = self.matrices()
        ones = [[1.0] * HIDDEN]
        tensors = {"token_embd.weight": embedding, "output_norm.weight": ones,
                   "output.weight": output, "blk.0.attn_norm.weight": ones,
                   "blk.0.attn_q.weight": zero, "blk.0.attn_k.weight": zero,
                   "blk.0.attn_v.weight": value, "blk.0.attn_output.weight": back,
                   "blk.0.ffn_norm.weight": ones, "blk.0.ffn_gate.weight": zero,
                   "blk.0.ffn_up.weight": zero, "blk.0.ffn_down.weight": zero}
        keys = {"general.architecture": "llama", "general.name": "scripted",
                "llama.context_length": 16384, "llama.embedding_length": HIDDEN,
                "llama.block_count": 1, "llama.feed_forward_length": HIDDEN,
                "llama.attention.head_count": 2, "llama.attention.head_count_kv": 2,
                "llama.attention.layer_norm_rms_epsilon": 1e-6,
                "llama.rope.dimension_count": HIDDEN // 2, "llama.rope.freq_base": 10000.0,
                "llama.vocab_size": len(self.tokens),
                "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
                "tokenizer.ggml.tokens": self.tokens, "tokenizer.ggml.token_type": self.types,
                "tokenizer.ggml.merges": [], "tokenizer.ggml.bos_token_id": self.bos,
                "tokenizer.ggml.eos_token_id": self.eos, "tokenizer.ggml.add_bos_token": False,
                "tokenizer.chat_template": self.template}
        pathlib.Path(path).write_bytes(gguf(keys, tensors))


def text_bytes(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def key_bytes(value):
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text_bytes(value)
    if value and isinstance(value[0], int):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text_bytes, value))


def gguf(keys, tensors):
    """Version 3, all tensors F32."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        head += text_bytes(key) + key_bytes(value)
    data = b""
    for name, rows in tensors.items():
        shape = [len(rows[0])] if len(rows) == 1 else [len(rows[0]), len(rows)]
        head += text_bytes(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, len(data))
        data += b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        data += b"\0" * (-len(data) % 32)
    return head + b"\0" * (-len(head) % 32) + data


def template_of(name):
    path = ROOT / "tests/golden/template" / f"{name}.json"
    return json.loads(path.read_text())["template"]


PARIS, SUM = '{"city": "Paris"}', '{"a": 2, "b": 40}'
FINAL = ["It is 18 degrees in Paris", " and the sum is 42."]
SAID = "It is 18 degrees in Paris and the sum is 42."
BEFORE = "Let me look."
THOUGHT = "Both tools are needed."
# DeepSeek's marks.
B, E = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, SEP, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
DEEPSEEK = ["<｜User｜>", "<｜Assistant｜>", CALLS, CALLS_END, CALL, SEP, CALL_END,
            "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>",
            "<｜tool▁output▁end｜>", "<think>", "</think>"]
FENCED = [CALLS, CALL, "function", SEP, f"get_weather\n```json\n{PARIS}\n```", CALL_END, CALL,
          "function", SEP, f"add\n```json\n{SUM}\n```", CALL_END, CALLS_END]


def families():
    """One model for each markup, by name."""
    one_text = "".join(FENCED)
    cuts = [0, 9, 40, 75, 140, len(one_text)]
    as_text = [one_text[a:b] for a, b in zip(cuts, cuts[1:])]
    qwen = [f'\n{{"name": "get_weather", "arguments": {PARIS}}}\n',
            f'\n{{"name": "add", "arguments": {SUM}}}\n']
    return {
        "v3": Model(template_of("deepseek-v3-npm"), DEEPSEEK, [BEFORE, *FENCED], FINAL, B, E),
        "v3.1": Model(template_of("deepseek-v3.1"), DEEPSEEK,
                      [BEFORE, CALLS, CALL, "get_weather", SEP, PARIS, CALL_END, CALL, "add", SEP,
                       SUM, CALL_END, CALLS_END], FINAL, B, E),
        "r1": Model(template_of("llama-cpp-deepseek-r1"), DEEPSEEK,
                    [THOUGHT, "</think>", BEFORE, *FENCED], FINAL, B, E),
        # The marks of another vocabulary are texts, cut anywhere.
        "r1-distill": Model(template_of("deepseek-r1-distill-llama-8b"),
                            ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"],
                            [THOUGHT, "</think>", BEFORE, *as_text], FINAL, B, E),
        "qwen": Model(template_of("qwen2.5-7b"),
                      ["<|im_start|>", "<tool_call>", "</tool_call>", "<|endoftext|>"],
                      [BEFORE, "<tool_call>", qwen[0], "</tool_call>", "<tool_call>", qwen[1],
                       "</tool_call>"], FINAL, "<|endoftext|>", "<|im_end|>",
                      forced={" ": [SUM + "}\n"]}),
        "llama": Model(template_of("llama-3.1-8b"),
                       ["<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"],
                       [f'{{"name": "get_weather", "parameters": {PARIS}}}', "; ",
                        f'{{"name": "add", "parameters": {SUM}}}'], FINAL,
                       "<|begin_of_text|>", "<|eot_id|>"),
        "kimi": Model(template_of("kimi-k2-instruct"),
                      ["<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>",
                       "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
                       "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"],
                      [BEFORE, "<|tool_calls_section_begin|>", "<|tool_call_begin|>",
                       "functions.get_weather:0", "<|tool_call_argument_begin|>", PARIS,
                       "<|tool_call_end|>", "<|tool_call_begin|>", "functions.add:1",
                       "<|tool_call_argument_begin|>", SUM, "<|tool_call_end|>",
                       "<|tool_calls_section_end|>"], FINAL, "[BOS]", "<|im_end|>"),
    }


# Answers whose markup is wrong somewhere, with what of them is right: content, called functions.
def broken():
    marks = ["<|im_start|>", "<tool_call>", "</tool_call>", "<|endoftext|>"]
    good = f'\n{{"name": "add", "arguments": {SUM}}}\n'
    cases = {
        "cut": ([BEFORE, "<tool_call>", '\n{"name": "add", "argum'], BEFORE, []),
        "nested": ([BEFORE, "<tool_call>", "\n{oops", "<tool_call>", good, "</tool_call>"],
                   BEFORE, ["add"]),
        "unknown": ([BEFORE, "<tool_call>", '\n{"name": "rm", "arguments": {}}\n', "</tool_call>"],
                    BEFORE, []),
        "unclosed": ([BEFORE, "<tool_call>", good], BEFORE, ["add"]),
    }
    template = template_of("qwen2.5-7b")
    return {name: (Model(template, marks, script, FINAL, "<|endoftext|>", "<|im_end|>"),
                   said, names)
            for name, (script, said, names) in cases.items()}
