"""Saves and loads the trained parameters of a trial: a PEFT adapter folder, or a safetensors file."""

from pathlib import Path
from typing import Any, cast

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from backbones import WeightsError
from backbones.loading import load_strictly, require_fit

WEIGHTS_FILE = "weights.safetensors"
ADAPTER_FILE = "adapter_config.json"  # PEFT's file names
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"


def save_trained(module: nn.Module, folder: Path, backbone: str) -> None:
    """Writes only the parameters that trained, so that a trial of a 4 GB model takes megabytes.

    Args:
        module: the module that `Strategy.apply` returned. A PEFT model is saved as an adapter folder, which
            `peft.PeftModel.from_pretrained` reads; any other as `weights.safetensors` with timm's key names.
        folder: the folder to write to.
        backbone: the backbone's name, saved as the adapter's `base_model_name_or_path` or in the file's metadata.
    """
    if hasattr(module, "peft_config"):
        adapted = cast(Any, module)
        adapted.peft_config["default"].base_model_name_or_path = backbone
        # Otherwise PEFT would ask the hub for a model of that name, to see whether its embeddings have changed.
        adapted.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card, whose every section is still to be written
        return
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    state = module.state_dict()
    save_file(
        {name: state[name].contiguous().cpu() for name in sorted(trained)},
        folder / WEIGHTS_FILE,
        metadata={"backbone": backbone},
    )


def load_trained(model: VisionTransformer, folder: Path, backbone: str) -> VisionTransformer:
    """Loads a trial's trained parameters into a model.

    Args:
        model: the network built by the same backbone, with its classifier attached. It is changed in place.
        folder: the folder that `save_trained` wrote.
        backbone: the backbone's name.

    Returns:
        The model in eval mode.

    Raises:
        backbones.WeightsError: the parameters were trained on another backbone, or keys or shapes do not fit the model.
    """
    if (folder / ADAPTER_FILE).is_file():
        # Takes seconds to import. PeftModel.from_pretrained would silently skip keys that do not fit.
        from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

        config = PeftConfig.from_pretrained(folder)
        _require_backbone(config.base_model_name_or_path, backbone, folder)
        config.base_model_name_or_path = None  # PEFT would warn that the model does not know its name
        module = get_peft_model(model, config)
        state = load_file(folder / ADAPTER_WEIGHTS_FILE)
        own = get_peft_model_state_dict(module, save_embedding_layers=False)
        require_fit(own, state, fresh=(), source=folder / ADAPTER_WEIGHTS_FILE)
        set_peft_model_state_dict(module, state)
        return module.eval().get_base_model()
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        _require_backbone((file.metadata() or {}).get("backbone"), backbone, folder)
    state = load_file(folder / WEIGHTS_FILE)
    frozen = model.state_dict().keys() - state.keys()
    load_strictly(model, state, fresh=frozen, source=folder / WEIGHTS_FILE)
    return model.eval()


def _require_backbone(trained: str | None, given: str, folder: Path) -> None:
    if trained != given:
        raise WeightsError(f"{folder}: trained on backbone {trained}, not on {given}; use backbone {trained}")
