# ruff: noqa: D103, D400, D403, INP001, PLR2004, S106, S311
# ruff: noqa: ANN001, ANN201, B905, C901, E402, E501, E741, N806, N816, PLR0911, PTH103, PTH118, PTH123
# ruff: noqa: PTH202, PTH208, RUF005, SIM115, SIM905, T201, TID251, UP031, I001, E401
"""How `hf/` was made: a Llama of 1.8 million parameters, from sentences that this script writes itself.

    python make.py OUT_DIR [--steps 700 | --seconds 240] [--seed 7]

Needs torch (CPU), transformers 5, tokenizers and safetensors; `build/sglang-cpu` has them all. Seven
minutes on two cores. Kept as it ran: the order of the random draws decides the weights, so any
change of a template, a list or a draw makes another model. No third-party text goes into it.
"""

import argparse, hashlib, json, math, os, random, time

ap = argparse.ArgumentParser()
ap.add_argument("out")
ap.add_argument("--seconds", type=float, default=240)
ap.add_argument(
    "--steps", type=int, default=0, help="fixed number of steps instead of seconds (repeatable)"
)
ap.add_argument("--seed", type=int, default=7)
ap.add_argument("--vocab", type=int, default=2048)
A = ap.parse_args()
os.makedirs(A.out, exist_ok=True)
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

R = random.Random(A.seed)
torch.manual_seed(A.seed)
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
CAP = dict(
    zip(
        "France Germany Italy Spain Portugal Poland Norway Sweden Finland Denmark Japan China India Egypt Kenya Canada Brazil Chile Peru Cuba Greece Austria Hungary Ireland Iceland".split(),
        "Paris Berlin Rome Madrid Lisbon Warsaw Oslo Stockholm Helsinki Copenhagen Tokyo Beijing Delhi Cairo Nairobi Ottawa Brasilia Santiago Lima Havana Athens Vienna Budapest Dublin Reykjavik".split(),
    )
)
DEF = {
    "a confidential VM": "A confidential VM is a virtual machine whose memory is encrypted by the processor, so that the host cannot read it.",
    "attestation": "Attestation is signed evidence of which code a machine runs, checked before any secret is sent to it.",
    "a payment channel": "A payment channel lets two parties exchange many signed balances off chain and settle only the last one on chain.",
    "TON": "TON is a blockchain for payments and smart contracts, used by Telegram Mini Apps.",
    "a gateway": "A gateway takes a request from an app, picks a worker, and passes back the answer.",
    "a worker": "A worker is a machine with an accelerator that runs the language model and signs how many tokens it used.",
    "a token": "A token is a piece of text, often a word or part of a word, and the unit in which usage is counted.",
    "a nonce": "A nonce is a number used once, so that an old message cannot be replayed.",
    "a receipt": "A receipt is a signed record of the tokens that one request used and what it costs.",
    "streaming": "Streaming sends the answer piece by piece while the model is still writing it.",
    "the OpenAI API": "The OpenAI API is a web interface for chat models; an app can use another server by changing its base URL.",
    "a cache": "A cache keeps results that were computed before, so that the same prefix costs less the second time.",
}
ANI = {
    "dog": "barks",
    "cat": "purrs",
    "cow": "moos",
    "duck": "quacks",
    "bee": "buzzes",
    "lion": "roars",
    "owl": "hoots",
    "frog": "croaks",
    "horse": "neighs",
    "sheep": "bleats",
}
NAMES = "Ada Alan Grace Linus Margaret Edsger Barbara Ken Dennis Radia Tim Guido".split()
COL = "red blue green white black golden silver small quiet bright".split()
THG = "robot fox bird river tower lamp boat cloud garden clock".split()
PL = "by the sea;in the old town;near the mountain;under the moon;at the market;in the deep forest".split(
    ";"
)
ACT = "learned to sing;found a key;counted the stars;made a friend;built a bridge;wrote a letter;opened the door".split(
    ";"
)
END = "and went home happy.;and told everyone about it.;and slept until morning.;and never forgot it.;and smiled.".split(
    ";"
)
WORDS = list(CAP) + list(CAP.values()) + list(ANI) + COL + THG + NAMES


def low(s):
    return s[0].lower() + s[1:]


def pair():
    k = R.random()
    c = R.choice
    if k < 0.16:
        x = c(list(CAP))
        f = c([0, 1, 2, 3])
        if f < 2:
            return c(
                [
                    "What is the capital of %s?",
                    "Tell me the capital of %s.",
                    "Capital of %s?",
                    "Which city is the capital of %s?",
                ]
            ) % x, "The capital of %s is %s." % (x, CAP[x])
        if f == 2:
            return "Which country has the capital %s?" % CAP[x], "%s is the capital of %s." % (
                CAP[x],
                x,
            )
        return "Is %s in %s?" % (CAP[x], x), "Yes, %s is the capital of %s." % (CAP[x], x)
    if k < 0.34:
        a, b = R.randint(0, 20), R.randint(0, 20)
        if R.random() < 0.6:
            return c(["What is %d + %d?", "Add %d and %d.", "How much is %d plus %d?"]) % (
                a,
                b,
            ), "%d plus %d is %d." % (a, b, a + b)
        a, b = max(a, b), min(a, b)
        return c(["What is %d - %d?", "How much is %d minus %d?"]) % (
            a,
            b,
        ), "%d minus %d is %d." % (a, b, a - b)
    if k < 0.52:
        x = c(list(DEF))
        return c(
            [
                "What is %s?",
                "Explain %s.",
                "Tell me about %s.",
                "Can you explain %s?",
                "Write one sentence about %s.",
            ]
        ) % x, DEF[x]
    if k < 0.60:
        x = c(list(ANI))
        return c(
            ["What does a %s do?", "What sound does a %s make?", "Tell me about the %s."]
        ) % x, "The %s %s." % (x, ANI[x])
    if k < 0.74:
        n, t, co = c(NAMES), c(THG), c(COL)
        return c(
            [
                "Tell me a story.",
                "Write a short story.",
                "Tell me a short story about a %s." % t,
                "Write a story about a %s %s." % (co, t),
                "Tell me a story about %s." % n,
            ]
        ), "Once there was a %s %s %s. One day it met %s, who %s. Together they %s %s" % (
            co,
            t,
            c(PL),
            n,
            c(ACT),
            c(ACT),
            c(END),
        )
    if k < 0.84:
        w = " ".join(c(WORDS) for _ in range(R.randint(1, 4)))
        return c(["Repeat after me: %s", "Say %s", "Please repeat: %s"]) % w, w
    if k < 0.90:
        a = R.randint(0, 12)
        b = a + R.randint(1, 8)
        return c(["Count from %d to %d.", "Please count from %d to %d."]) % (a, b), ", ".join(
            map(str, range(a, b + 1))
        ) + "."
    if k < 0.94:
        return c(["Hello", "Hello!", "Hi", "Hi there", "Good morning", "Hey", "Say hi"]), c(
            ["Hello! How can I help you today?"]
        )
    if k < 0.975:
        return (
            c(
                [
                    "Who are you?",
                    "What are you?",
                    "What is your name?",
                    "Are you a real model?",
                    "Which model is this?",
                ]
            ),
            "I am a toy language model with two million parameters, made for testing this gateway. I know very little.",
        )
    return c(["Thank you", "Thanks", "Thanks!", "Bye", "Goodbye"]), "You are welcome. Goodbye!"


def chat():
    m = []
    if R.random() < 0.4:
        m.append(
            (
                "system",
                R.choice(
                    [
                        "You are a helpful assistant.",
                        "You are a coding assistant.",
                        "Answer briefly.",
                        "Be polite and short.",
                    ]
                ),
            )
        )
    for _ in range(1 if R.random() < 0.8 else 2):
        q, a = pair()
        m += [("user", q), ("assistant", a)]
    return m


TEMPLATE = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
t0 = time.time()
tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
tok.decoder = decoders.ByteLevel()
tok.train_from_iterator(
    (" ".join(b for _, b in chat()) for _ in range(20000)),
    trainers.BpeTrainer(
        vocab_size=A.vocab,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ),
)
V = tok.get_vocab_size()
padV = (V + 63) // 64 * 64
T = PreTrainedTokenizerFast(
    tokenizer_object=tok,
    bos_token=None,
    eos_token="<|im_end|>",
    pad_token="<|endoftext|>",
    unk_token="<|endoftext|>",
    model_max_length=2048,
    chat_template=TEMPLATE,
)
IS, IE = tok.token_to_id("<|im_start|>"), tok.token_to_id("<|im_end|>")
nl = tok.encode("\n").ids


def enc(m):
    ids, lab = [], []
    for r, x in m:
        h = [IS] + tok.encode(r + "\n").ids
        b = tok.encode(x).ids + [IE]
        ids += h + b + nl
        lab += [-100] * len(h) + (b if r == "assistant" else [-100] * len(b)) + [-100] * len(nl)
    return ids, lab


cfg = LlamaConfig(
    vocab_size=padV,
    hidden_size=192,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=3,
    num_key_value_heads=1,
    head_dim=64,
    max_position_embeddings=2048,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=IE,
    pad_token_id=0,
    attention_bias=False,
)
M = LlamaForCausalLM(cfg)
NP = sum(p.numel() for p in M.parameters())
print("params", NP, "vocab", V, "setup s", round(time.time() - t0, 1), flush=True)
L = 112


def batch(n):
    """packs whole dialogues into rows of L"""
    I = torch.zeros(n, L, dtype=torch.long)
    Y = torch.full((n, L), -100)
    for i in range(n):
        p = 0
        while p < L - 20:
            ids, lab = enc(chat())
            k = min(len(ids), L - p)
            if k < len(ids) and p > 0:
                break
            I[i, p : p + k] = torch.tensor(ids[:k])
            Y[i, p : p + k] = torch.tensor(lab[:k])
            p += k
    return I, Y


B = 32
opt = torch.optim.AdamW(M.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.05)
t1 = time.time()
step = 0
ema = None
while True:
    fr = step / A.steps if A.steps else (time.time() - t1) / A.seconds
    if fr >= 1:
        break
    for g in opt.param_groups:
        g["lr"] = (
            2e-3 * min(1, (step + 1) / 60) * (0.5 * (1 + math.cos(math.pi * fr)) * 0.97 + 0.03)
        )
    I, Y = batch(B)
    loss = M(input_ids=I, labels=Y).loss
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(M.parameters(), 1.0)
    opt.step()
    step += 1
    ema = loss.item() if ema is None else 0.98 * ema + 0.02 * loss.item()
    if step % 50 == 0:
        print(step, round(ema, 4), round(time.time() - t1), flush=True)
M.eval()
M = M.to(torch.bfloat16)
M.generation_config.eos_token_id = IE
M.generation_config.pad_token_id = 0
M.generation_config.bos_token_id = 0
M.save_pretrained(A.out)
T.save_pretrained(A.out)
json.dump(
    {"steps": step, "loss": ema, "params": NP, "seconds": round(time.time() - t0, 1)},
    open(os.path.join(A.out, "training.json"), "w"),
)
Mf = M.float()
for q in [
    "What is the capital of Japan?",
    "What is 7 + 8?",
    "Explain a payment channel.",
    "Tell me a short story about a lamp.",
    "Who are you?",
    "Repeat after me: silver fox",
    "Count from 3 to 9.",
    "Write a poem about the sea.",
]:
    e = T.apply_chat_template(
        [{"role": "user", "content": q}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    o = Mf.generate(
        input_ids=e["input_ids"],
        attention_mask=e["attention_mask"],
        max_new_tokens=60,
        do_sample=False,
    )
    print(q, "->", T.decode(o[0][e["input_ids"].shape[1] :], skip_special_tokens=True), flush=True)
for f in sorted(os.listdir(A.out)):
    print(
        hashlib.sha256(open(os.path.join(A.out, f), "rb").read()).hexdigest()[:16],
        os.path.getsize(os.path.join(A.out, f)),
        f,
    )
