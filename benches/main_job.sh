#!/usr/bin/env bash
# The main job on MNIST 1 vs 0: 2 % poisoned by a one-pixel trigger of norm 1.0, cnn, sigma 0.5, 100 members, 20 epochs.
#   benches/main_job.sh [DATA_ROOT] [OUT]
# Prints certified accuracy, time and peak memory, and leaves summary.json in OUT.
set -euo pipefail
data="${1:-../shared/data}"
out="${2:-runs/mnist-main}"
exec certssb run --dataset mnist --data-root "$data" --classes 0 1 \
    --trigger one-pixel --rate 0.02 --norm 1.0 --target 0 \
    --model cnn --sigma 0.5 --members 100 --epochs 20 --seed 0 \
    --checkpoint "$out/members" --out "$out"
