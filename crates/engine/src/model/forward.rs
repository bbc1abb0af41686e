//! The one forward pass. Prefill and decode are the same: decode is a batch with one row a sequence.

use super::attention_rows::Looked;
use super::config::{AttentionConfig, ModelConfig};
use super::weights::{Attention, Ffn, Layer, Linear, LoadProgress, Mixer, ModelWeights};
use super::workspace::{self, BatchLimits, Workspace};
use super::{Batch, Forward, ForwardError, ModelError, Want, check_batch, kv_layout};
use crate::kv::{KvCache, KvLayout, SeqId};
use crate::trace::{Recorder, What};
use crate::weights::WeightsFile;
use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use limpid_kernels::ops::{
    self, AttentionParams, AttentionRow, Compute, Kinds, KvFormat, KvSlot, NormInput, PAGE_LEN, Prepared,
    RopeTable,
};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModelOptions {
    pub compute: Compute,
    pub kv_format: KvFormat,
    pub limits: BatchLimits,
}

/// A model, ready to compute.
pub struct Model {
    config: ModelConfig,
    cpu: Arc<Cpu>,
    compute: Compute,
    limits: BatchLimits,
    weights: ModelWeights,
    rope: RopeTable,
    layout: KvLayout,
    /// For each layer: its layer group, and its number within the group.
    places: Vec<(usize, usize)>,
    workspace: Workspace,
    step: Step,
}

/// What the rows of the batch in hand are, in the form that the operations want.
struct Step {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    /// One for each layer group.
    groups: Vec<GroupStep>,
}

/// Where the rows write and read in one layer group.
struct GroupStep {
    slots: Vec<KvSlot>,
    rows: Vec<AttentionRow>,
    /// The page tables of the batch's sequences, one after the other.
    tables: Vec<u32>,
}

impl Model {
    /// Reads and repacks the weights of `file`. `config` comes from [`super::arch::read`].
    pub fn load(
        file: &WeightsFile,
        config: ModelConfig,
        cpu: Arc<Cpu>,
        options: &ModelOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        let &ModelOptions { compute, kv_format, limits } = options;
        let rope = RopeTable::new(
            config.rope.rotary_dim,
            config.rope.theta,
            config.rope.style,
            &config.rope.scaling,
        )
        .map_err(|source| ModelError::Rope { path: file.path().to_owned(), source })?;
        let weights = ModelWeights::load(file, &config, &cpu, progress)?;
        let layout = kv_layout(&config, kv_format);
        let kinds = workspace::kinds(file, &config, compute);
        let n_threads = cpu.pool.n_threads();
        Ok(Self {
            workspace: Workspace::new(&config, &layout, limits, kinds, &rope, n_threads)?,
            step: Step::new(&layout, limits),
            places: places(&layout, config.layers.len()),
            config,
            cpu,
            compute,
            limits,
            weights,
            rope,
            layout,
        })
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The residual stream through all layers.
    fn layers(&mut self, batch: &Batch, kv: &mut KvCache, recorder: &mut dyn Recorder) {
        let pass = Pass { cpu: &self.cpu, compute: self.compute, eps: self.config.rms_norm_eps };
        let ws = &mut self.workspace;
        for (i, layer) in self.weights.layers.iter().enumerate() {
            match &layer.mixer {
                Mixer::Attention(attention) => {
                    let (group, layer_in_group) = self.places[i];
                    let place = KvPlace { kv: &mut *kv, group, layer: layer_in_group };
                    // What the layer before adds is added on the way.
                    pass.attention(attention, &layer.mixer_norm, i > 0, place, &self.step, ws);
                    if recorder.wants(What::Attention { layer: i }) {
                        let GroupStep { rows, tables, .. } = &self.step.groups[group];
                        let (kv, params) = (kv.storage(group), params(&attention.config));
                        let looked = Looked { kv, layer_in_group, q: &ws.q, rows, tables, params };
                        show_attention(recorder, i, &looked, batch);
                    }
                }
            }
            if i > 0 {
                record(recorder, i - 1, &ws.residual);
            }
            pass.ffn(layer, ws);
        }
        ops::add(&self.cpu, &mut ws.residual, &ws.added);
        record(recorder, self.weights.layers.len() - 1, &ws.residual);
    }

    /// Final norm and head, for the rows that want logits.
    fn head(&mut self, batch: &Batch) {
        let ws = &mut self.workspace;
        let wanted = batch.rows.iter().enumerate().filter(|(_, row)| row.want == Want::Logits);
        ws.added.set_n_rows(batch.n_logits());
        for (to, (from, _)) in wanted.enumerate() {
            ws.added.row_mut(to).copy_from_slice(ws.residual.row(from));
        }
        let head = self.weights.lm_head();
        let norm = NormInput {
            residual: &mut ws.added,
            added: None,
            weight: &self.weights.output_norm,
            eps: self.config.rms_norm_eps,
        };
        let kinds = Kinds::of(head.format(), self.compute);
        let input = ws.activations.rms_norm(&self.cpu, norm, &mut ws.last, kinds);
        ops::matmul(&self.cpu, head, self.compute, &input, &mut ws.logits);
    }
}

/// Shows the residual stream after layer `i` to a recorder that wants it.
fn record(recorder: &mut dyn Recorder, i: usize, residual: &Rows) {
    if recorder.wants(What::Residual { layer: i }) {
        (0..residual.n_rows()).for_each(|row| recorder.residual(row, i, residual.row(row)));
    }
}

/// Shows what the rows that want logits attend to in layer `i`.
fn show_attention(recorder: &mut dyn Recorder, i: usize, looked: &Looked<'_>, batch: &Batch) {
    let wanted = batch.rows.iter().enumerate().filter(|(_, row)| row.want == Want::Logits);
    for (row, _) in wanted {
        for (head, weights) in looked.weights(row).iter().enumerate() {
            recorder.attention(row, i, head, weights);
        }
    }
}

fn params(config: &AttentionConfig) -> AttentionParams {
    AttentionParams {
        n_heads: config.n_heads,
        scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
        window: config.window,
    }
}

impl Forward for Model {
    fn cpu(&self) -> &Arc<Cpu> {
        &self.cpu
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn context_length(&self) -> usize {
        self.config.context_length
    }

    fn kv_layout(&self) -> &KvLayout {
        &self.layout
    }

    fn max_batch_rows(&self) -> usize {
        self.limits.max_rows
    }

    fn max_logit_rows(&self) -> usize {
        self.limits.max_logit_rows
    }

    fn forward(
        &mut self,
        batch: &Batch,
        kv: &mut KvCache,
        recorder: &mut dyn Recorder,
    ) -> Result<&Rows, ForwardError> {
        check_batch(self, batch)?;
        self.step.load(batch, kv);
        let ws = &mut self.workspace;
        ops::embed(&self.cpu, &self.weights.embed, &self.step.tokens, &mut ws.residual);
        ws.angles.fill(&self.cpu, &self.rope, &self.step.positions);
        self.layers(batch, kv, recorder);
        self.head(batch);
        Ok(&self.workspace.logits)
    }
}

/// What every part of a layer needs.
struct Pass<'a> {
    cpu: &'a Cpu,
    compute: Compute,
    eps: f32,
}

/// A layer's keys and values.
struct KvPlace<'a> {
    kv: &'a mut KvCache,
    group: usize,
    layer: usize,
}

impl Pass<'_> {
    /// out = x * weight, plus the bias, for each.
    fn linear<const N: usize>(&self, x: &Prepared<'_>, mut products: [(&Linear, &mut Rows); N]) {
        ops::matmuls(self.cpu, self.compute, x, products.each_mut().map(|(l, out)| (&l.weight, &mut **out)));
        for (linear, out) in products {
            if let Some(bias) = &linear.bias {
                ops::add_bias(self.cpu, out, bias);
            }
        }
    }

    /// The forms of rows that all of `readers` want.
    fn kinds(&self, readers: &[&Linear]) -> Kinds {
        Kinds::of_all(readers.iter().map(|linear| &linear.weight), self.compute)
    }

    /// The normed residual for attention, its result in `added`. First adds what is there to the residual, if
    /// `has_added`.
    fn attention(
        &self,
        attention: &Attention,
        norm: &Rows,
        has_added: bool,
        place: KvPlace<'_>,
        step: &Step,
        ws: &mut Workspace,
    ) {
        let Attention { config, q, k, v, o, q_norm, k_norm } = attention;
        let KvPlace { kv, group, layer } = place;
        let added = has_added.then_some(&ws.added);
        let norm = NormInput { residual: &mut ws.residual, added, weight: norm, eps: self.eps };
        let input = ws.activations.rms_norm(self.cpu, norm, &mut ws.normed, self.kinds(&[q, k, v]));
        self.linear(&input, [(q, &mut ws.q), (k, &mut ws.k), (v, &mut ws.v)]);
        if let Some(norm) = q_norm {
            ops::rms_norm_heads(self.cpu, &mut ws.q, norm, self.eps);
        }
        if let Some(norm) = k_norm {
            ops::rms_norm_heads(self.cpu, &mut ws.k, norm, self.eps);
        }
        ops::rope(self.cpu, &mut ws.q, config.head_dim, &ws.angles);
        ops::rope(self.cpu, &mut ws.k, config.head_dim, &ws.angles);
        let of_group = &step.groups[group];
        ops::kv_write(self.cpu, kv.storage_mut(group), layer, &of_group.slots, &ws.k, &ws.v);
        ops::attention(
            self.cpu,
            kv.storage(group),
            layer,
            &ws.q,
            &of_group.rows,
            &of_group.tables,
            params(config),
            &mut ws.attention[group],
            &mut ws.mixed,
        );
        let input = ws.activations.prepare(self.cpu, &ws.mixed, self.kinds(&[o]));
        self.linear(&input, [(o, &mut ws.added)]);
    }

    /// Adds `added` to the residual; then norm and feed-forward part of that, its result in `added`.
    fn ffn(&self, layer: &Layer, ws: &mut Workspace) {
        let weight = &layer.ffn_norm;
        let norm = NormInput { residual: &mut ws.residual, added: Some(&ws.added), weight, eps: self.eps };
        match &layer.ffn {
            Ffn::Dense { gate, up, down } => {
                let input = ws.activations.rms_norm(self.cpu, norm, &mut ws.normed, self.kinds(&[gate, up]));
                self.linear(&input, [(gate, &mut ws.gate), (up, &mut ws.up)]);
                let kinds = self.kinds(&[down]);
                let input = ws.activations.swiglu(self.cpu, &ws.gate, &ws.up, &mut ws.activated, kinds);
                self.linear(&input, [(down, &mut ws.added)]);
            }
        }
    }
}

impl Step {
    fn new(layout: &KvLayout, limits: BatchLimits) -> Self {
        let n_pages = limits.context_length.div_ceil(PAGE_LEN) * limits.max_logit_rows;
        let group = |_: &_| GroupStep {
            slots: Vec::with_capacity(limits.max_rows),
            rows: Vec::with_capacity(limits.max_rows),
            tables: Vec::with_capacity(n_pages),
        };
        Self {
            tokens: Vec::with_capacity(limits.max_rows),
            positions: Vec::with_capacity(limits.max_rows),
            groups: layout.groups.iter().map(group).collect(),
        }
    }

    fn load(&mut self, batch: &Batch, kv: &KvCache) {
        self.tokens.clear();
        self.positions.clear();
        self.tokens.extend(batch.rows.iter().map(|row| row.token.0));
        self.positions.extend(batch.rows.iter().map(|row| row.position));
        for (i, group) in self.groups.iter_mut().enumerate() {
            group.load(batch, kv, i);
        }
    }
}

impl GroupStep {
    fn load(&mut self, batch: &Batch, kv: &KvCache, group: usize) {
        self.slots.clear();
        self.rows.clear();
        self.tables.clear();
        let mut current: Option<(SeqId, Range<u32>)> = None;
        for row in &batch.rows {
            self.slots.push(kv.slot(row.seq, group, row.position as usize));
            let table = match &current {
                Some((seq, table)) if *seq == row.seq => table.clone(),
                _ => self.add_table(kv.page_table(row.seq, group)),
            };
            current = Some((row.seq, table.clone()));
            self.rows.push(AttentionRow { position: row.position, table });
        }
    }

    fn add_table(&mut self, pages: &[u32]) -> Range<u32> {
        let start = self.tables.len() as u32;
        self.tables.extend_from_slice(pages);
        start..self.tables.len() as u32
    }
}

fn places(layout: &KvLayout, n_layers: usize) -> Vec<(usize, usize)> {
    let mut places = vec![(0, 0); n_layers];
    for (g, group) in layout.groups.iter().enumerate() {
        for (i, &layer) in group.layers.iter().enumerate() {
            places[layer] = (g, i);
        }
    }
    places
}
