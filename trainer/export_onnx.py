"""A fine-tuned model as one ONNX file: features in, probabilities out; normalisation and chunking are inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.data.chunking import Window
from trainer.errors import InputError
from trainer.models.aggregators import RnnAttentionAggregator
from trainer.models.encoders import ConvChunkEncoder, LstmChunkEncoder, MaskedBatchNorm
from trainer.predictor import Predictor
from trainer.store import replace_file

OPSET = 20


def export_onnx(model: str | Path, out: str | Path) -> Path:
    """Write ``out``: ``features``, float32 (frames, features) of two frames or more, to ``probabilities`` (K,).

    They are calibrated as the model is. The file's metadata holds what is needed to use it: labels, feature names,
    frame period, and how the features were made.

    Args:
        model: folder of a fine-tuned model with chunk encoder ``cnn`` or ``lstm``, normalised by statistics of
            training rows or of each utterance.
        out: an .onnx file.

    Raises:
        InputError: the extra ``onnx`` is not installed, or the model is of another kind.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise InputError(f"export --onnx needs {error.name}: pip install '.[onnx]' in the project's folder") from None
    predictor = Predictor(model)
    portable = Portable(predictor).eval()
    frames = predictor.spec.chunking.frames
    example = torch.zeros(3 * frames, len(predictor.spec.feature_names))
    out = Path(out)

    def write(place: Path) -> None:
        program = torch.onnx.export(
            portable, (example,), dynamo=True, opset_version=OPSET, input_names=["features"],
            output_names=["probabilities"], verbose=False,
            dynamic_shapes={"features": {0: torch.export.Dim("frames", min=2)}},
        )  # fmt: skip
        proto = program.model_proto if program is not None else None
        assert proto is not None  # torch gives one wherever no file is named
        onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in _about(predictor).items()})
        onnx.checker.check_model(proto)
        onnx.save(proto, str(place))

    replace_file(out, write)
    return out


def _about(predictor: Predictor) -> dict[str, Any]:
    return {
        "target": predictor.target,
        "labels": list(predictor.objective.names),
        "objective": predictor.objective.kind,
        "temperature": predictor.temperature,
        "feature_names": list(predictor.spec.feature_names),
        "frame_period": predictor.spec.frame_period,
        "front_end": predictor.config.get("front_end"),
    }


class Portable(nn.Module):
    """What `trainer.predictor.Predictor` computes of one utterance, without steps that depend on values.

    Chunks that begin where the one before begins are computed too and weigh nothing, where training leaves them out.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        spec, network = predictor.spec, predictor.network.cpu().eval()
        encoder = network.encoder
        if predictor.by_speaker:
            raise InputError(
                f"{predictor.folder} is normalised by each speaker's own speech, which one file cannot hold"
            )
        if isinstance(spec.chunking, Window):
            raise InputError(f"{predictor.folder}: encoder.length {spec.encoder.length} is not exported, only dynamic")
        if not isinstance(encoder.chunk_encoder, ConvChunkEncoder | LstmChunkEncoder):
            name = spec.encoder.chunk_encoder
            raise InputError(f"{predictor.folder}: chunk encoder {name} is not exported, only cnn and lstm")
        if not predictor.objective.is_classes:
            raise InputError(f"{predictor.folder} gives attributes, which are not exported, only classes")
        self.layer_sum, self.chunk_encoder, self.aggregator = (
            encoder.layer_sum,
            encoder.chunk_encoder,
            encoder.aggregator,
        )
        self.head, self.objective = network.heads[predictor.target], predictor.objective
        self.frames, self.count, self.temperature = spec.chunking.frames, spec.chunking.count, predictor.temperature
        normalisation = spec.normalisation
        self.clip, self.by_utterance = normalisation.clip, normalisation.scope == "utterance"
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(normalisation.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(normalisation.std, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """(frames, features) to (K,)."""
        length = features.shape[0]
        room = torch.sym_max(length - self.frames, 0)
        steps = torch.arange(self.count)
        starts = cast(Tensor, room * steps) // max(self.count - 1, 1)
        real = torch.cat([torch.ones(1, dtype=torch.bool), starts[1:] > starts[:-1]])
        place = starts[:, None] + torch.arange(self.frames)[None]
        mask = place < length
        mean, std = _statistics(features) if self.by_utterance else (self.mean, self.std)
        x = self.layer_sum(((features - mean) / std).clamp(-self.clip, self.clip))
        x = x[place.clamp(max=length - 1)] * mask.unsqueeze(-1)
        if isinstance(self.chunk_encoder, ConvChunkEncoder):
            chunks = _convolutions(self.chunk_encoder, x, mask)
        else:
            chunks = _recurrent(self.chunk_encoder, x, mask)
        if isinstance(self.aggregator, RnnAttentionAggregator):
            vector = _rnn_attention(self.aggregator, chunks, real)
        else:
            vector = self.aggregator(chunks.unsqueeze(0), real.unsqueeze(0))
        outputs = self.head(vector)[0] / self.temperature
        return torch.sigmoid(outputs) if self.objective.kind == "multilabel" else torch.softmax(outputs, dim=0)


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """`trainer.data.normalisation.Normalisation.of_rows` of one utterance with ``scope`` utterance."""
    features = features.double()  # as the trainer, since squares of large features lose digits
    mean = features.mean(dim=0)
    std = (features - mean).square().mean(dim=0).sqrt()
    std = torch.where(std <= 1e-6 * mean.abs().clamp(min=1.0), torch.ones_like(std), std)
    return mean.float(), std.float()


def _norm(norm: MaskedBatchNorm, x: Tensor) -> Tensor:
    """Batch norm by running statistics; features last."""
    scale = cast(Tensor, norm.weight) / (cast(Tensor, norm.running_var) + norm.eps).sqrt()
    return (x - cast(Tensor, norm.running_mean)) * scale + cast(Tensor, norm.bias)


def _moments(x: Tensor, mask: Tensor) -> Tensor:
    """`trainer.models.encoders.statistics` of (C, L, H), 0 where padded, and (C, L)."""
    count = mask.sum(dim=1, keepdim=True).to(x.dtype)
    mean = x.sum(dim=1) / count
    centred = (x - mean.unsqueeze(1)) * mask.unsqueeze(-1)
    return torch.cat([mean, ((centred * centred).sum(dim=1) / count + 1e-5).sqrt()], dim=1)


def _convolutions(encoder: ConvChunkEncoder, x: Tensor, mask: Tensor) -> Tensor:
    pooled = [_moments(x, mask)]
    for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
        mask = mask[:, :: encoder.stride]
        x = conv(x.transpose(1, 2)).transpose(1, 2)
        x = functional.gelu(_norm(cast(MaskedBatchNorm, norm), x)) * mask.unsqueeze(-1)
        pooled.append(_moments(x, mask))
    return cast(Tensor, encoder.out(torch.cat(pooled, dim=1)))


def _recurrent(encoder: LstmChunkEncoder, x: Tensor, mask: Tensor) -> Tensor:
    states, _ = encoder.lstm(x)
    last = mask.sum(dim=1) - 1
    return _norm(encoder.norm, states[torch.arange(states.shape[0]), last])


def _rnn_attention(aggregator: RnnAttentionAggregator, chunks: Tensor, real: Tensor) -> Tensor:
    """Real chunks at the front, in their order; what comes after them changes no state before."""
    order = torch.argsort((~real).to(torch.int64) * len(real) + torch.arange(len(real)))
    count = real.sum()
    states, _ = aggregator.rnn(chunks[order].unsqueeze(0))
    last = states[:, count - 1]
    scores = (aggregator.score(states) * last.unsqueeze(1)).sum(dim=-1)
    inside = torch.arange(len(real)) < count
    alpha = torch.softmax(scores.masked_fill(~inside, -torch.inf), dim=1)
    context = (alpha.unsqueeze(-1) * states).sum(dim=1)
    return torch.tanh(aggregator.out(torch.cat([context, last], dim=1)))
