"""The OpenCLIP entry agrees with what timm publishes."""

import timm

import backbones


def test_the_entry_agrees_with_timm():
    backbone = backbones.get("openclip-vit-g14")
    published = timm.get_pretrained_cfg(backbone.architecture)
    assert (backbone.mean, backbone.std) == (published.mean, published.std)
    assert backbone.weights.repository == published.hf_hub_id
