"""Names as published: a network as one project saves it and as another one does, and the rules a person would write.

Widths are small; which tensors there are, their order and which shapes differ is as published.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Shapes = dict[str, tuple[int, ...]]


@dataclass
class Port:
    source: Shapes
    target: Shapes
    person: list[tuple[str, str]] = field(default_factory=list)


class Names:
    """Collects keys and shapes; `burn` norms have gamma and beta and no counter."""

    def __init__(self, *, burn: bool = False) -> None:
        self.shapes: Shapes = {}
        self.burn = burn

    def put(self, key, *shape):
        assert key not in self.shapes
        self.shapes[key] = shape

    def lin(self, key, n_out, n_in, bias=True):
        self.put(f"{key}.weight", n_out, n_in)
        if bias:
            self.put(f"{key}.bias", n_out)

    def conv(self, key, n_out, n_in, size=3, bias=False):
        self.put(f"{key}.weight", n_out, n_in, size, size)
        if bias:
            self.put(f"{key}.bias", n_out)

    def ln(self, key, n, bias=True):
        self.put(f"{key}.{'gamma' if self.burn else 'weight'}", n)
        if bias:
            self.put(f"{key}.{'beta' if self.burn else 'bias'}", n)

    def bn(self, key, n):
        self.ln(key, n)
        self.put(f"{key}.running_mean", n)
        self.put(f"{key}.running_var", n)
        if not self.burn:
            self.put(f"{key}.num_batches_tracked")


def _resnet(blocks, bottleneck):
    def side(*, burn):
        names = Names(burn=burn)
        names.conv("conv1", 8, 3, 7)
        names.bn("bn1", 8)
        n_in, grow = 8, 4 if bottleneck else 1
        for layer, n_blocks in enumerate(blocks, 1):
            width = 8 * 2 ** (layer - 1)
            for block in range(n_blocks):
                at = f"layer{layer}.blocks.{block}" if burn else f"layer{layer}.{block}"
                sizes = (1, 3, 1) if bottleneck else (3, 3)
                dims = [n_in, *[width] * (len(sizes) - 1), width * grow]
                for n, size in enumerate(sizes, 1):
                    names.conv(f"{at}.conv{n}", dims[n], dims[n - 1], size)
                    names.bn(f"{at}.bn{n}", dims[n])
                if n_in != width * grow:
                    names.conv(f"{at}.downsample.{'conv' if burn else 0}", width * grow, n_in, 1)
                    names.bn(f"{at}.downsample.{'bn' if burn else 1}", width * grow)
                n_in = width * grow
        names.lin("fc", 10, n_in)
        return names.shapes

    return Port(
        side(burn=False),
        side(burn=True),
        [
            (r"^(layer[1-4])\.(\d+)\.", "$1.blocks.$2."),
            (r"\.downsample\.0\.", ".downsample.conv."),
            (r"\.downsample\.1\.", ".downsample.bn."),
            (r"(bn\d?)\.weight$", "$1.gamma"),
            (r"(bn\d?)\.bias$", "$1.beta"),
        ],
    )


def resnet18_torchvision_to_burn():
    return _resnet((2, 2, 2, 2), bottleneck=False)


def resnet50_torchvision_to_burn():
    return _resnet((3, 4, 6, 3), bottleneck=True)


def bert_transformers_to_burn():
    old, new = Names(), Names(burn=True)
    for names, norm, at in ((old, "LayerNorm", "bert.embeddings"), (new, "layer_norm", "embeddings")):
        names.put(f"{at}.word_embeddings.weight", 99, 12)
        names.put(f"{at}.position_embeddings.weight", 40, 12)
        names.put(f"{at}.token_type_embeddings.weight", 2, 12)
        names.ln(f"{at}.{norm}", 12)
    for n in range(12):
        at = f"bert.encoder.layer.{n}"
        for part in ("query", "key", "value"):
            old.lin(f"{at}.attention.self.{part}", 12, 12)
        old.lin(f"{at}.attention.output.dense", 12, 12)
        old.ln(f"{at}.attention.output.LayerNorm", 12)
        old.lin(f"{at}.intermediate.dense", 48, 12)
        old.lin(f"{at}.output.dense", 12, 48)
        old.ln(f"{at}.output.LayerNorm", 12)
        at = f"encoder.layers.{n}"
        for part in ("query", "key", "value", "output"):
            new.lin(f"{at}.mha.{part}", 12, 12)
        new.lin(f"{at}.pwff.linear_inner", 48, 12)
        new.lin(f"{at}.pwff.linear_outer", 12, 48)
        new.ln(f"{at}.norm_1", 12)
        new.ln(f"{at}.norm_2", 12)
    old.lin("bert.pooler.dense", 12, 12)
    old.lin("cls.predictions.transform.dense", 12, 12)
    new.lin("pooler.output", 12, 12)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^bert\.", ""),
            (r"^encoder\.layer\.", "encoder.layers."),
            (r"\.attention\.self\.", ".mha."),
            (r"\.attention\.output\.dense\.", ".mha.output."),
            (r"\.attention\.output\.LayerNorm\.", ".norm_1."),
            (r"\.intermediate\.dense\.", ".pwff.linear_inner."),
            (r"(\d+)\.output\.dense\.", "$1.pwff.linear_outer."),
            (r"(\d+)\.output\.LayerNorm\.", "$1.norm_2."),
            (r"^embeddings\.LayerNorm\.", "embeddings.layer_norm."),
            (r"^pooler\.dense\.", "pooler.output."),
            (r"norm(_\d)?\.weight$", "norm$1.gamma"),
            (r"norm(_\d)?\.bias$", "norm$1.beta"),
        ],
    )


def _gpt2(prefix, *, burn, n_layers=12):
    names = Names(burn=burn)
    names.put(f"{prefix}wte.weight", 99, 12)
    names.put(f"{prefix}wpe.weight", 40, 12)
    for n in range(n_layers):
        at = f"{prefix}h.{n}"
        names.ln(f"{at}.ln_1", 12)
        if not prefix:
            names.put(f"{at}.attn.bias", 1, 1, 40, 40)
        for key, n_in, n_out in (
            ("attn.c_attn", 12, 36),
            ("attn.c_proj", 12, 12),
            ("mlp.c_fc", 12, 48),
            ("mlp.c_proj", 48, 12),
        ):
            if key == "mlp.c_fc":
                names.ln(f"{at}.ln_2", 12)
            names.put(f"{at}.{key}.weight", n_in, n_out)
            names.put(f"{at}.{key}.bias", n_out)
    names.ln(f"{prefix}ln_f", 12)
    return names.shapes


def gpt2_original_to_transformers():
    return Port(_gpt2("", burn=False), _gpt2("transformer.", burn=False), [(r"^(wte|wpe|h|ln_f)\.", "transformer.$1.")])


def gpt2_original_to_burn():
    return Port(
        _gpt2("", burn=False),
        _gpt2("transformer.", burn=True),
        [
            ("^", "transformer."),
            (r"(ln_.)\.weight$", "$1.gamma"),
            (r"(ln_.)\.bias$", "$1.beta"),
        ],
    )


def llama_transformers_to_meta():
    old, new = Names(), Names()
    old.put("model.embed_tokens.weight", 99, 16)
    new.put("tok_embeddings.weight", 99, 16)
    for n in range(22):
        at = f"model.layers.{n}"
        for part, size in (("q", 16), ("k", 4), ("v", 4), ("o", 16)):
            old.put(f"{at}.self_attn.{part}_proj.weight", size, 16)
            new.put(f"layers.{n}.attention.w{part}.weight", size, 16)
        for part, name, shape in (("gate", "w1", (40, 16)), ("up", "w3", (40, 16)), ("down", "w2", (16, 40))):
            old.put(f"{at}.mlp.{part}_proj.weight", *shape)
            new.put(f"layers.{n}.feed_forward.{name}.weight", *shape)
        old.ln(f"{at}.input_layernorm", 16, bias=False)
        old.ln(f"{at}.post_attention_layernorm", 16, bias=False)
        new.ln(f"layers.{n}.attention_norm", 16, bias=False)
        new.ln(f"layers.{n}.ffn_norm", 16, bias=False)
    old.ln("model.norm", 16, bias=False)
    new.ln("norm", 16, bias=False)
    old.put("lm_head.weight", 99, 16)
    new.put("output.weight", 99, 16)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^model\.", ""),
            (r"^embed_tokens\.", "tok_embeddings."),
            (r"\.self_attn\.([qkvo])_proj\.", ".attention.w$1."),
            (r"\.mlp\.gate_proj\.", ".feed_forward.w1."),
            (r"\.mlp\.down_proj\.", ".feed_forward.w2."),
            (r"\.mlp\.up_proj\.", ".feed_forward.w3."),
            (r"\.input_layernorm\.", ".attention_norm."),
            (r"\.post_attention_layernorm\.", ".ffn_norm."),
            (r"^lm_head\.", "output."),
        ],
    )


def vit_torchvision_to_timm():
    old, new = Names(), Names()
    old.put("class_token", 1, 1, 12)
    old.conv("conv_proj", 12, 3, 16, bias=True)
    old.put("encoder.pos_embedding", 1, 197, 12)
    new.put("cls_token", 1, 1, 12)
    new.put("pos_embed", 1, 197, 12)
    new.conv("patch_embed.proj", 12, 3, 16, bias=True)
    for n in range(12):
        at = f"encoder.layers.encoder_layer_{n}"
        old.ln(f"{at}.ln_1", 12)
        old.put(f"{at}.self_attention.in_proj_weight", 36, 12)
        old.put(f"{at}.self_attention.in_proj_bias", 36)
        old.lin(f"{at}.self_attention.out_proj", 12, 12)
        old.ln(f"{at}.ln_2", 12)
        old.lin(f"{at}.mlp.0", 48, 12)
        old.lin(f"{at}.mlp.3", 12, 48)
        at = f"blocks.{n}"
        new.ln(f"{at}.norm1", 12)
        new.lin(f"{at}.attn.qkv", 36, 12)
        new.lin(f"{at}.attn.proj", 12, 12)
        new.ln(f"{at}.norm2", 12)
        new.lin(f"{at}.mlp.fc1", 48, 12)
        new.lin(f"{at}.mlp.fc2", 12, 48)
    old.ln("encoder.ln", 12)
    new.ln("norm", 12)
    old.lin("heads.head", 10, 12)
    new.lin("head", 10, 12)
    return Port(
        old.shapes,
        new.shapes,
        [
            ("^class_token$", "cls_token"),
            (r"^conv_proj\.", "patch_embed.proj."),
            (r"^encoder\.pos_embedding$", "pos_embed"),
            (r"^encoder\.layers\.encoder_layer_", "blocks."),
            (r"\.ln_(\d)\.", ".norm$1."),
            (r"\.self_attention\.in_proj_", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.0\.", ".mlp.fc1."),
            (r"\.mlp\.3\.", ".mlp.fc2."),
            (r"^encoder\.ln\.", "norm."),
            (r"^heads\.", ""),
        ],
    )


def unet_milesial_to_burn():
    old, new = Names(), Names(burn=True)

    def double(at, new_at, n_in, n_out):
        old.conv(f"{at}.double_conv.0", n_out, n_in)
        old.bn(f"{at}.double_conv.1", n_out)
        old.conv(f"{at}.double_conv.3", n_out, n_out)
        old.bn(f"{at}.double_conv.4", n_out)
        new.conv(f"{new_at}.conv1", n_out, n_in)
        new.bn(f"{new_at}.norm1", n_out)
        new.conv(f"{new_at}.conv2", n_out, n_out)
        new.bn(f"{new_at}.norm2", n_out)

    double("inc", "inc", 3, 4)
    for n in range(1, 5):
        double(f"down{n}.maxpool_conv.1", f"down{n}.conv", 2 ** (n + 1), 2 ** (n + 2))
    for n in range(1, 5):
        width = 2 ** (7 - n)
        for names in (old, new):
            names.conv(f"up{n}.up", width, width // 2, 2, bias=True)
        double(f"up{n}.conv", f"up{n}.conv", width, width // 2)
    for names, at in ((old, "outc.conv"), (new, "outc")):
        names.conv(at, 2, 4, 1, bias=True)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"\.maxpool_conv\.1\.", ".conv."),
            (r"\.double_conv\.0\.", ".conv1."),
            (r"\.double_conv\.1\.", ".norm1."),
            (r"\.double_conv\.3\.", ".conv2."),
            (r"\.double_conv\.4\.", ".norm2."),
            (r"^outc\.conv\.", "outc."),
            (r"(norm\d)\.weight$", "$1.gamma"),
            (r"(norm\d)\.bias$", "$1.beta"),
        ],
    )


def whisper_openai_to_transformers():
    old, new = Names(), Names()
    for side, n_ctx in (("encoder", 30), ("decoder", 20)):
        if side == "encoder":
            old.put("encoder.positional_embedding", n_ctx, 12)
        else:
            old.put("decoder.positional_embedding", n_ctx, 12)
            old.put("decoder.token_embedding.weight", 99, 12)
            new.put("model.decoder.embed_tokens.weight", 99, 12)
        for names, prefix in ((old, ""), (new, "model.")):
            for n, n_in in ((1, 8), (2, 12)):
                if side == "encoder":
                    names.put(f"{prefix}encoder.conv{n}.weight", 12, n_in, 3)
                    names.put(f"{prefix}encoder.conv{n}.bias", 12)
        new.put(f"model.{side}.embed_positions.weight", n_ctx, 12)
        for n in range(4):
            at, new_at = f"{side}.blocks.{n}", f"model.{side}.layers.{n}"
            attentions = [("attn", "self_attn")] + [("cross_attn", "encoder_attn")] * (side == "decoder")
            for kind, name in attentions:
                for part, called in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("out", "out_proj")):
                    old.lin(f"{at}.{kind}.{part}", 12, 12, bias=part != "key")
                    new.lin(f"{new_at}.{name}.{called}", 12, 12, bias=part != "key")
                old.ln(f"{at}.{kind}_ln", 12)
                new.ln(f"{new_at}.{name}_layer_norm", 12)
            old.lin(f"{at}.mlp.0", 48, 12)
            old.lin(f"{at}.mlp.2", 12, 48)
            old.ln(f"{at}.mlp_ln", 12)
            new.lin(f"{new_at}.fc1", 48, 12)
            new.lin(f"{new_at}.fc2", 12, 48)
            new.ln(f"{new_at}.final_layer_norm", 12)
        old.ln("encoder.ln_post" if side == "encoder" else "decoder.ln", 12)
        new.ln(f"model.{side}.layer_norm", 12)
    return Port(
        old.shapes,
        new.shapes,
        [
            ("^", "model."),
            (r"\.blocks\.", ".layers."),
            (r"\.mlp\.0\.", ".fc1."),
            (r"\.mlp\.2\.", ".fc2."),
            (r"\.mlp_ln\.", ".final_layer_norm."),
            (r"\.attn_ln\.", ".self_attn_layer_norm."),
            (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
            (r"\.attn\.", ".self_attn."),
            (r"\.cross_attn\.", ".encoder_attn."),
            (r"attn\.query\.", "attn.q_proj."),
            (r"attn\.key\.", "attn.k_proj."),
            (r"attn\.value\.", "attn.v_proj."),
            (r"attn\.out\.", "attn.out_proj."),
            (r"encoder\.ln_post\.", "encoder.layer_norm."),
            (r"decoder\.ln\.", "decoder.layer_norm."),
            (r"\.token_embedding\.", ".embed_tokens."),
            (r"\.positional_embedding$", ".embed_positions.weight"),
        ],
    )


def mobilenet_v2_torchvision_to_burn():
    old, new = Names(), Names(burn=True)

    def unit(at, index, new_at, conv, n_out, n_in, size, norm="norm_layer"):
        names = ((old, f"{at}.{index}.0", f"{at}.{index}.1"), (new, f"{new_at}.conv", f"{new_at}.{norm}"))
        for side, first, second in names:
            side.conv(first, n_out, n_in, size)
            side.bn(second, n_out)

    def stem(n, n_out, n_in, size):
        for side, first, second in ((old, "0", "1"), (new, "conv", "norm_layer")):
            side.conv(f"features.{n}.{first}", n_out, n_in, size)
            side.bn(f"features.{n}.{second}", n_out)

    stem(0, 8, 3, 3)
    n_in, n = 8, 1
    for expand, n_out, n_blocks in ((1, 4, 1), (6, 6, 2), (6, 10, 3), (6, 16, 4), (6, 24, 3), (6, 40, 3), (6, 80, 1)):
        for _ in range(n_blocks):
            hidden, at, place = n_in * expand, f"features.{n}", 0
            if expand != 1:
                unit(f"{at}.conv", place, f"{at}.pw", "conv", hidden, n_in, 1)
                place += 1
            unit(f"{at}.conv", place, f"{at}.dw", "conv", hidden, 1, 3)
            old.conv(f"{at}.conv.{place + 1}", n_out, hidden, 1)
            old.bn(f"{at}.conv.{place + 2}", n_out)
            new.conv(f"{at}.pw_linear.conv", n_out, hidden, 1)
            new.bn(f"{at}.pw_linear.norm", n_out)
            n_in, n = n_out, n + 1
    stem(n, 128, n_in, 1)
    old.lin("classifier.1", 10, 128)
    new.lin("classifier.linear", 10, 128)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^features\.(\d+)\.0\.", "features.$1.conv."),
            (r"^features\.(\d+)\.1\.", "features.$1.norm_layer."),
            (r"^features\.1\.conv\.0\.0\.", "features.1.dw.conv."),
            (r"^features\.1\.conv\.0\.1\.", "features.1.dw.norm_layer."),
            (r"^features\.1\.conv\.1\.([^.]*)$", "features.1.pw_linear.conv.$1"),
            (r"^features\.1\.conv\.2\.([^.]*)$", "features.1.pw_linear.norm.$1"),
            (r"\.conv\.0\.0\.", ".pw.conv."),
            (r"\.conv\.0\.1\.", ".pw.norm_layer."),
            (r"\.conv\.1\.0\.", ".dw.conv."),
            (r"\.conv\.1\.1\.", ".dw.norm_layer."),
            (r"\.conv\.2\.", ".pw_linear.conv."),
            (r"\.conv\.3\.", ".pw_linear.norm."),
            (r"^classifier\.1\.", "classifier.linear."),
            (r"(norm(?:_layer)?)\.weight$", "$1.gamma"),
            (r"(norm(?:_layer)?)\.bias$", "$1.beta"),
        ],
    )


def vgg16_torchvision_to_named():
    old, new, person = Names(), Names(), []
    place, n_in = 0, 3
    for stage, (width, n_convs) in enumerate(((4, 2), (8, 2), (16, 3), (32, 3), (32, 3)), 1):
        for n in range(1, n_convs + 1):
            for names, at in ((old, f"features.{place}"), (new, f"conv{stage}_{n}")):
                names.conv(at, width, n_in, bias=True)
            person.append((rf"^features\.{place}\.", f"conv{stage}_{n}."))
            place, n_in = place + 2, width
        place += 1
    for n, at, n_out, width in ((0, "fc6", 64, 32 * 49), (3, "fc7", 64, 64), (6, "fc8", 10, 64)):
        old.lin(f"classifier.{n}", n_out, width)
        new.lin(at, n_out, width)
        person.append((rf"^classifier\.{n}\.", f"{at}."))
    return Port(old.shapes, new.shapes, person)


def densenet_old_torchvision_to_burn():
    old, new = Names(), Names(burn=True)
    for names, at in ((old, "features."), (new, "")):
        dot = "." if at else ""
        names.conv(f"{at}conv0", 8, 3, 7)
        names.bn(f"{at}norm0", 8)
        width = 8
        for block, n_layers in enumerate((6, 12, 24, 16), 1):
            for layer in range(1, n_layers + 1):
                where = f"{at}denseblock{block}.denselayer{layer}"
                names.bn(f"{where}.norm{dot}1", width)
                names.conv(f"{where}.conv{dot}1", 16, width, 1)
                names.bn(f"{where}.norm{dot}2", 16)
                names.conv(f"{where}.conv{dot}2", 4, 16)
                width += 4
            if block < 4:
                names.bn(f"{at}transition{block}.norm", width)
                names.conv(f"{at}transition{block}.conv", width // 2, width, 1)
                width //= 2
        names.bn(f"{at}norm5", width)
        names.lin("classifier", 10, width)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^features\.", ""),
            (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", "$1$2."),
            (r"(norm\d?)\.weight$", "$1.gamma"),
            (r"(norm\d?)\.bias$", "$1.beta"),
        ],
    )


def alexnet_torchvision_to_named():
    old, new, person = Names(), Names(), []
    n_in = 3
    for n, (place, width, size) in enumerate(((0, 8, 11), (3, 24, 5), (6, 48, 3), (8, 32, 3), (10, 32, 3)), 1):
        old.conv(f"features.{place}", width, n_in, size, bias=True)
        new.conv(f"conv{n}", width, n_in, size, bias=True)
        person.append((rf"^features\.{place}\.", f"conv{n}."))
        n_in = width
    for n, (place, n_out, width) in enumerate(((1, 64, 32 * 36), (4, 64, 64), (6, 10, 64)), 1):
        old.lin(f"classifier.{place}", n_out, width)
        new.lin(f"fc{n}", n_out, width)
        person.append((rf"^classifier\.{place}\.", f"fc{n}."))
    return Port(old.shapes, new.shapes, person)


def t5_encoder_transformers_to_wan():
    old, new = Names(), Names()
    old.put("shared.weight", 99, 12)
    new.put("token_embedding.weight", 99, 12)
    for n in range(8):
        at, new_at = f"encoder.block.{n}", f"blocks.{n}"
        for part in "qkvo":
            old.put(f"{at}.layer.0.SelfAttention.{part}.weight", 12, 12)
        if n == 0:
            old.put(f"{at}.layer.0.SelfAttention.relative_attention_bias.weight", 32, 6)
        old.ln(f"{at}.layer.0.layer_norm", 12, bias=False)
        old.put(f"{at}.layer.1.DenseReluDense.wi_0.weight", 30, 12)
        old.put(f"{at}.layer.1.DenseReluDense.wi_1.weight", 30, 12)
        old.put(f"{at}.layer.1.DenseReluDense.wo.weight", 12, 30)
        old.ln(f"{at}.layer.1.layer_norm", 12, bias=False)
        new.ln(f"{new_at}.norm1", 12, bias=False)
        for part in "qkvo":
            new.put(f"{new_at}.attn.{part}.weight", 12, 12)
        new.ln(f"{new_at}.norm2", 12, bias=False)
        new.put(f"{new_at}.ffn.gate.0.weight", 30, 12)
        new.put(f"{new_at}.ffn.fc1.weight", 30, 12)
        new.put(f"{new_at}.ffn.fc2.weight", 12, 30)
        if n == 0:
            new.put(f"{new_at}.pos_embedding.embedding.weight", 32, 6)
    old.ln("encoder.final_layer_norm", 12, bias=False)
    new.ln("norm", 12, bias=False)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^shared\.", "token_embedding."),
            (r"^encoder\.block\.", "blocks."),
            (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
            (r"\.layer\.0\.SelfAttention\.", ".attn."),
            (r"\.layer\.0\.layer_norm\.", ".norm1."),
            (r"\.layer\.1\.layer_norm\.", ".norm2."),
            (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
            (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
            (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
            (r"^encoder\.final_layer_norm\.", "norm."),
        ],
    )


def clip_text_transformers_to_burn():
    old, new = Names(), Names(burn=True)
    old.put("text_model.embeddings.token_embedding.weight", 99, 12)
    old.put("text_model.embeddings.position_embedding.weight", 77, 12)
    new.put("token_embedding.weight", 99, 12)
    new.put("position_embedding", 77, 12)
    for n in range(12):
        at, new_at = f"text_model.encoder.layers.{n}", f"blocks.{n}"
        for part, called in (("k_proj", "key"), ("v_proj", "value"), ("q_proj", "query"), ("out_proj", "out")):
            old.lin(f"{at}.self_attn.{part}", 12, 12)
            new.lin(f"{new_at}.attn.{called}", 12, 12)
        old.ln(f"{at}.layer_norm1", 12)
        new.ln(f"{new_at}.attn_ln", 12)
        for names, where in ((old, at), (new, new_at)):
            names.lin(f"{where}.mlp.fc1", 48, 12)
            names.lin(f"{where}.mlp.fc2", 12, 48)
        old.ln(f"{at}.layer_norm2", 12)
        new.ln(f"{new_at}.mlp_ln", 12)
    old.ln("text_model.final_layer_norm", 12)
    new.ln("layer_norm", 12)
    return Port(
        old.shapes,
        new.shapes,
        [
            (r"^text_model\.(?:embeddings\.)?", ""),
            (r"^position_embedding\.weight$", "position_embedding"),
            (r"^encoder\.layers\.", "blocks."),
            (r"\.self_attn\.", ".attn."),
            (r"\.q_proj\.", ".query."),
            (r"\.k_proj\.", ".key."),
            (r"\.v_proj\.", ".value."),
            (r"\.out_proj\.", ".out."),
            (r"\.layer_norm1\.", ".attn_ln."),
            (r"\.layer_norm2\.", ".mlp_ln."),
            (r"^final_layer_norm\.", "layer_norm."),
            (r"(ln|norm)\.weight$", "$1.gamma"),
            (r"(ln|norm)\.bias$", "$1.beta"),
        ],
    )


def squeezenet_torchvision_to_named():
    old, new, person = Names(), Names(), [(r"^features\.0\.", "conv1."), (r"^classifier\.1\.", "conv10.")]
    old.conv("features.0", 8, 3, bias=True)
    new.conv("conv1", 8, 3, bias=True)
    n_in = 8
    fires = ((3, 2, 8), (4, 2, 8), (6, 4, 16), (7, 4, 16), (9, 6, 24), (10, 6, 24), (11, 8, 32), (12, 8, 32))
    for n, (place, squeeze, expand) in enumerate(fires, 2):
        for names, at in ((old, f"features.{place}"), (new, f"fire{n}")):
            names.conv(f"{at}.squeeze", squeeze, n_in, 1, bias=True)
            names.conv(f"{at}.expand1x1", expand, squeeze, 1, bias=True)
            names.conv(f"{at}.expand3x3", expand, squeeze, 3, bias=True)
        person.append((rf"^features\.{place}\.", f"fire{n}."))
        n_in = 2 * expand
    old.conv("classifier.1", 10, n_in, 1, bias=True)
    new.conv("conv10", 10, n_in, 1, bias=True)
    return Port(old.shapes, new.shapes, person)


def yolo_ultralytics_to_named():
    old, new, person = Names(), Names(burn=True), []

    def conv(at, new_at, n_out, n_in, size):
        for names, where in ((old, at), (new, new_at)):
            names.conv(f"{where}.conv", n_out, n_in, size)
            names.bn(f"{where}.bn", n_out)

    def csp(at, new_at, width, n):
        for part, n_out, n_in in (("cv1", width // 2, width), ("cv2", width // 2, width), ("cv3", width, width)):
            conv(f"{at}.{part}", f"{new_at}.{part.replace('cv', 'conv')}", n_out, n_in, 1)
        for m in range(n):
            for part, size in (("cv1", 1), ("cv2", 3)):
                where = f"{new_at}.blocks.{m}.{part.replace('cv', 'conv')}"
                conv(f"{at}.m.{m}.{part}", where, width // 2, width // 2, size)

    layers = [("stem", 4, 3, 0), ("down1", 8, 4, 0), ("c3_1", 8, 8, 1), ("down2", 16, 8, 0), ("c3_2", 16, 16, 2)]
    layers += [("down3", 32, 16, 0), ("c3_3", 32, 32, 3), ("down4", 64, 32, 0), ("c3_4", 64, 64, 1)]
    for place, (name, n_out, n_in, n) in enumerate(layers):
        if n:
            csp(f"model.{place}", f"backbone.{name}", n_out, n)
        else:
            conv(f"model.{place}", f"backbone.{name}", n_out, n_in, 6 if place == 0 else 3)
        person.append((rf"^model\.{place}\.", f"backbone.{name}."))
    person += [
        (r"\.cv(\d)\.", ".conv$1."),
        (r"\.m\.(\d+)\.", ".blocks.$1."),
        (r"bn\.weight$", "bn.gamma"),
        (r"bn\.bias$", "bn.beta"),
    ]
    return Port(old.shapes, new.shapes, person)


PORTS: list[Callable[[], Port]] = [
    alexnet_torchvision_to_named,
    bert_transformers_to_burn,
    clip_text_transformers_to_burn,
    densenet_old_torchvision_to_burn,
    gpt2_original_to_burn,
    gpt2_original_to_transformers,
    llama_transformers_to_meta,
    mobilenet_v2_torchvision_to_burn,
    resnet18_torchvision_to_burn,
    resnet50_torchvision_to_burn,
    squeezenet_torchvision_to_named,
    t5_encoder_transformers_to_wan,
    unet_milesial_to_burn,
    vgg16_torchvision_to_named,
    vit_torchvision_to_timm,
    whisper_openai_to_transformers,
    yolo_ultralytics_to_named,
]
