//! What can be wrong with a config.json and with the tensors beside it.

use super::edit::{Folder, Tensors};
use super::{DAMAGED, Differences, INCOMPLETE, MISSHAPEN, NOT_BUILT, error_of, golden};
use limpid_engine::model::arch;
use limpid_engine::model::config::{LayerConfig, MixerConfig};
use limpid_engine::weights::WeightsFile;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

/// Fields of config.json, the error, and how it ends.
type Row = (Value, &'static str, &'static str);

fn check(name: &str, rows: Vec<Row>) {
    let sound = Folder::read(&golden(name));
    let mut differences = Differences::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (fields, expected, ending) in rows {
        let mut changed = sound.clone();
        changed.set(&fields);
        changed.write(folder.path());
        differences.compare(&error_of(folder.path()), &format!("{expected}{ending}"));
    }
}

#[test]
fn numbers() {
    check(
        "llama_bias/hf",
        vec![
            (json!({}), "none, it runs", ""),
            (
                json!({"num_hidden_layers": 4_000_000_000_u64}),
                "`num_hidden_layers`: found 4000000000, expected an integer from 1 to 1024",
                DAMAGED,
            ),
            (
                json!({"num_hidden_layers": 0}),
                "`num_hidden_layers`: found 0, expected an integer from 1 to 1024",
                DAMAGED,
            ),
            (
                json!({"num_hidden_layers": null}),
                "`num_hidden_layers`: found nothing, expected an integer from 1 to 1024",
                DAMAGED,
            ),
            (
                json!({"hidden_size": 1_u64 << 40}),
                "`hidden_size`: found 1099511627776, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"hidden_size": -40}),
                "`hidden_size`: found -40, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"hidden_size": "40"}),
                "`hidden_size`: found \"40\", expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"intermediate_size": 56.5}),
                "`intermediate_size`: found 56.5, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"intermediate_size": [56]}),
                "`intermediate_size`: found [56], expected an integer from 1 to 1048576",
                DAMAGED,
            ),
        ],
    );
}

#[test]
fn numbers_beyond_any_model() {
    check(
        "llama_bias/hf",
        vec![
            (
                json!({"vocab_size": u64::MAX}),
                "`vocab_size`: found 18446744073709551615, expected an integer from 1 to 16777216",
                DAMAGED,
            ),
            (
                json!({"max_position_embeddings": 1e30}),
                "`max_position_embeddings`: found 1e+30, expected an integer from 1 to 268435456",
                DAMAGED,
            ),
            (
                json!({"max_position_embeddings": null}),
                "`max_position_embeddings`: found nothing, expected an integer from 1 to 268435456",
                DAMAGED,
            ),
            (
                json!({"rms_norm_eps": -1e-5}),
                "`rms_norm_eps`: found -0.00001, expected a number from 0 to below 1",
                DAMAGED,
            ),
            (
                json!({"rms_norm_eps": "NaN"}),
                "`rms_norm_eps`: found \"NaN\", expected a number from 0 to below 1",
                DAMAGED,
            ),
            (
                json!({"tie_word_embeddings": 1}),
                "`tie_word_embeddings`: found 1, expected true or false",
                DAMAGED,
            ),
            (
                json!({"attention_bias": "false"}),
                "`attention_bias`: found \"false\", expected true or false",
                DAMAGED,
            ),
            (
                json!({"vocab_size": "x".repeat(1 << 20)}),
                "`vocab_size`: found \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., \
                 expected an integer from 1 to 16777216",
                DAMAGED,
            ),
        ],
    );
}

#[test]
fn heads() {
    check(
        "llama_bias/hf",
        vec![
            (
                json!({"num_attention_heads": 0}),
                "`num_attention_heads`: found 0, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"num_attention_heads": 3, "head_dim": null}),
                "`num_attention_heads`: found 3, expected a divisor of hidden_size, 40",
                DAMAGED,
            ),
            (
                json!({"num_key_value_heads": 0}),
                "`num_key_value_heads`: found 0, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                json!({"num_key_value_heads": 2}),
                "`num_key_value_heads`: found 2, expected a divisor of the number of heads, 5",
                DAMAGED,
            ),
            (
                json!({"head_dim": 7}),
                "`head_dim`: found 7, expected an even number from 2 to the head dimension, 7",
                DAMAGED,
            ),
            (
                json!({"head_dim": 5000}),
                "`head_dim`: found 5000, expected an integer from 1 to 4096",
                DAMAGED,
            ),
            (
                json!({"head_dim": null, "num_attention_heads": 1, "hidden_size": 1 << 20}),
                "`head_dim`: found 1048576, expected an integer from 1 to 4096",
                DAMAGED,
            ),
            (
                json!({"num_attention_heads": 1 << 20, "head_dim": 4096}),
                "`num_attention_heads`: found 1048576, expected at most 1048576 elements in all heads, \
                 which have 4096 each",
                DAMAGED,
            ),
            (
                json!({"head_dim": 16}),
                "tensor `model.layers.0.self_attn.q_proj.weight`: found shape [40, 40], expected [80, 40]",
                MISSHAPEN,
            ),
        ],
    );
}

#[test]
fn names() {
    check(
        "llama_bias/hf",
        vec![
            (
                json!({"model_type": "mamba"}),
                "`model_type`: architecture \"mamba\" is not supported; supported are llama, mistral, qwen2, qwen3",
                "",
            ),
            (
                json!({"architectures": ["Qwen2ForCausalLM"]}),
                "`architectures`: found [\"Qwen2ForCausalLM\"], expected classes of model_type \"llama\"",
                DAMAGED,
            ),
            (
                json!({"architectures": "LlamaForCausalLM"}),
                "`architectures`: found \"LlamaForCausalLM\", expected a list of names",
                DAMAGED,
            ),
            (json!({"model_type": null}), "`model_type`: found nothing, expected a string", DAMAGED),
            (json!({"model_type": ["llama"]}), "`model_type`: found [\"llama\"], expected a string", DAMAGED),
            (
                json!({"hidden_act": "gelu"}),
                "`hidden_act`: found \"gelu\", expected \"silu\" or \"swish\"",
                NOT_BUILT,
            ),
            (json!({"hidden_act": 3}), "`hidden_act`: found 3, expected \"silu\" or \"swish\"", NOT_BUILT),
            (
                json!({"model_type": "qwen3", "architectures": null}),
                "tensor `model.layers.0.self_attn.q_norm.weight`: found no such tensor among 35, \
                 expected one of shape [8]",
                INCOMPLETE,
            ),
            (
                json!({"attention_bias": false}),
                "8 tensors have no place in architecture llama, the first is \
                 `model.layers.0.self_attn.k_proj.bias`; \
                 the model is of another architecture than its metadata says",
                "",
            ),
        ],
    );
}

/// Both spellings of RoPE's settings.
#[test]
fn rope() {
    let scaling = |fields: Value| json!({ "rope_scaling": fields });
    let llama3 = |key: &str, value: Value| {
        let mut fields = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64});
        fields[key] = value;
        scaling(fields)
    };
    let rows = vec![
        (llama3("factor", json!(4.0)), "none, it runs", ""),
        (json!({"rope_theta": 0}), "`rope_theta`: found 0, expected a number above 0", DAMAGED),
        (json!({"rope_theta": 1e300}), "`rope_theta`: found 1e+300, expected a number above 0", DAMAGED),
        (
            json!({"rope_parameters": {"rope_theta": -1.0}}),
            "`rope_parameters.rope_theta`: found -1.0, expected a number above 0",
            DAMAGED,
        ),
        (
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}),
            "`rope_parameters.rope_type`: found \"yarn\", expected \"default\", \"linear\" or \"llama3\"",
            NOT_BUILT,
        ),
        (json!({"rope_scaling": "yarn"}), "`rope_scaling`: found \"yarn\", expected an object", DAMAGED),
        (
            scaling(json!({"type": "dynamic", "factor": 2.0})),
            "`rope_scaling.type`: found \"dynamic\", expected \"default\", \"linear\" or \"llama3\"",
            NOT_BUILT,
        ),
        (
            scaling(json!({"rope_type": "longrope"})),
            "`rope_scaling.rope_type`: found \"longrope\", expected \"default\", \"linear\" or \"llama3\"",
            NOT_BUILT,
        ),
        (
            scaling(json!({"rope_type": "spiral"})),
            "`rope_scaling.rope_type`: found \"spiral\", expected \"default\", \"linear\" or \"llama3\"",
            NOT_BUILT,
        ),
        (scaling(json!({"rope_type": 3})), "`rope_scaling.rope_type`: found 3, expected a string", DAMAGED),
        (
            scaling(json!({"type": "linear"})),
            "`rope_scaling.factor`: found nothing, expected a number above 0",
            DAMAGED,
        ),
        (
            scaling(json!({"type": "linear", "factor": 0.0})),
            "`rope_scaling.factor`: found 0.0, expected a number above 0",
            DAMAGED,
        ),
        (
            llama3("original_max_position_embeddings", Value::Null),
            "`rope_scaling.original_max_position_embeddings`: found nothing, \
             expected an integer from 1 to 268435456",
            DAMAGED,
        ),
        (
            llama3("low_freq_factor", json!("1")),
            "`rope_scaling.low_freq_factor`: found \"1\", expected a number above 0",
            DAMAGED,
        ),
        (
            llama3("high_freq_factor", json!(1.0)),
            "`rope_scaling.high_freq_factor`: found 1.0, expected more than low_freq_factor, 1",
            DAMAGED,
        ),
    ];
    check("llama3/hf", rows);
}

#[test]
fn partly_rotated_heads() {
    let nested = json!({"rope_scaling": {"partial_rotary_factor": 0.25}});
    let rows = vec![
        (
            json!({"partial_rotary_factor": 0.5}),
            "`partial_rotary_factor`: found 0.5, expected 1.0 or 1",
            NOT_BUILT,
        ),
        (nested, "`rope_scaling.partial_rotary_factor`: found 0.25, expected 1.0 or 1", NOT_BUILT),
    ];
    check("llama3/hf", rows);
}

#[test]
fn both_spellings_of_rope_must_say_the_same() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32});
    let with_theta = |settings: &Value, theta: f64| {
        let mut settings = settings.clone();
        settings["rope_theta"] = theta.into();
        settings
    };
    let both = |new: Value, old: Value| json!({"rope_parameters": new, "rope_scaling": old});
    let default = json!({"rope_type": "default"});
    let rows = [
        (both(with_theta(&llama3, 5e5), llama3.clone()), "none, it runs"),
        (both(with_theta(&llama3, 5e5), with_theta(&llama3, 5e5)), "none, it runs"),
        (both(default.clone(), llama3.clone()), "`rope_scaling`: found {\"rope_type\":\"llama3\","),
        (
            both(llama3, default.clone()),
            "`rope_scaling`: found {\"rope_type\":\"default\"}, expected the same as rope_parameters, ",
        ),
        (
            both(with_theta(&default, 5e5), with_theta(&default, 1e4)),
            "`rope_scaling`: found {\"rope_type\":\"default\",\"rope_theta\":10000.0}, expected the same as",
        ),
        (
            both(with_theta(&default, 1e4), Value::Null),
            "`rope_theta`: found 500000.0, expected the same as within the RoPE settings, 10000;",
        ),
    ];
    let (sound, path) =
        (Folder::read(&golden("llama3/hf")), tempfile::tempdir().expect("a temporary folder"));
    for (fields, expected) in rows {
        let mut changed = sound.clone();
        changed.set(&fields);
        changed.write(path.path());
        let found = error_of(path.path());
        assert!(found.starts_with(expected), "found     {found}\nexpected  {expected}");
    }
}

/// As transformers' configurations say: absent is their default, and only an explicit null means no window.
#[test]
fn a_window_that_is_absent_is_not_one_that_is_null() {
    let of_layers = |name: &str, fields: Value, removed: Option<&str>| {
        let mut folder = Folder::read(&golden(name));
        folder.set(&fields);
        folder.config.as_object_mut().expect("an object").retain(|key, _| Some(key.as_str()) != removed);
        let path = tempfile::tempdir().expect("a temporary folder");
        folder.write(path.path());
        let config = arch::read(&WeightsFile::open(path.path()).expect("a folder")).expect("a configuration");
        let window = |layer: &LayerConfig| {
            let MixerConfig::Attention(attention) = &layer.mixer;
            attention.window
        };
        config.layers.iter().map(window).collect::<Vec<_>>()
    };
    let absent = Some("sliding_window");
    assert!(of_layers("mistral_window/hf", json!({}), absent).iter().all(|window| *window == Some(4096)));
    assert!(
        of_layers("mistral_window/hf", json!({"sliding_window": null}), None).iter().all(Option::is_none)
    );
    let qwen2 = "qwen2_layer_types/hf";
    assert_eq!(of_layers(qwen2, json!({}), absent), [Some(4096), None, Some(4096)]);
    assert_eq!(of_layers(qwen2, json!({"sliding_window": null}), None), [None; 3]);
    assert_eq!(of_layers(qwen2, json!({"use_sliding_window": false}), absent), [None; 3]);
}

#[test]
fn windows() {
    let window = "expected an integer from 1 to 4294967295";
    let sliding = |found: &str| format!("`sliding_window`: found {found}, {window}").leak() as &'static str;
    check(
        "mistral_window/hf",
        vec![
            (json!({"sliding_window": 0}), sliding("0"), DAMAGED),
            (json!({"sliding_window": -4096}), sliding("-4096"), DAMAGED),
            (json!({"sliding_window": 4_294_967_296_u64}), sliding("4294967296"), DAMAGED),
            (json!({"sliding_window": 4_294_967_295_u64}), "none, it runs", ""),
            (json!({"sliding_window": 1}), "none, it runs", ""),
            (json!({"sliding_window": null}), "none, it runs", ""),
        ],
    );
    check(
        "qwen2_layer_types/hf",
        vec![
            (json!({"sliding_window": 0}), sliding("0"), DAMAGED),
            (json!({"sliding_window": "20"}), sliding("\"20\""), DAMAGED),
            (
                json!({"layer_types": ["full_attention", "sliding_attention"]}),
                "`layer_types`: found [\"full_attention\",\"sliding_attention\"], \
                 expected a list of 3, one for each layer",
                DAMAGED,
            ),
            (
                json!({"layer_types": "full_attention"}),
                "`layer_types`: found \"full_attention\", expected a list of 3, one for each layer",
                DAMAGED,
            ),
            (
                json!({"layer_types": ["full_attention", "mamba", "full_attention"], "use_sliding_window": false}),
                "`layer_types`: found [\"full_attention\",\"mamba\",\"full_attention\"], \
                 expected \"full_attention\" or \"sliding_attention\" for each layer",
                NOT_BUILT,
            ),
            (
                json!({"layer_types": [1, 2, 3]}),
                "`layer_types`: found [1,2,3], expected \"full_attention\" or \"sliding_attention\" for each layer",
                NOT_BUILT,
            ),
            (
                json!({"use_sliding_window": "yes"}),
                "`use_sliding_window`: found \"yes\", expected true or false",
                DAMAGED,
            ),
            (
                json!({"layer_types": null, "max_window_layers": -1}),
                "`max_window_layers`: found -1, expected an integer of 0 or more",
                DAMAGED,
            ),
        ],
    );
}

fn check_tensors(name: &str, edit: impl FnOnce(&mut Tensors), expected: &str) {
    let mut folder = Folder::read(&golden(name));
    edit(&mut folder.tensors);
    let path = tempfile::tempdir().expect("a temporary folder");
    folder.write(path.path());
    Differences::default().compare(&error_of(path.path()), expected);
}

#[test]
fn tensors() {
    check_tensors(
        "llama_bias/hf",
        |tensors| drop(tensors.remove("model.norm.weight")),
        &format!(
            "tensor `model.norm.weight`: found no such tensor among 34, expected one of shape [40]{INCOMPLETE}"
        ),
    );
    check_tensors(
        "llama_bias/hf",
        |tensors| tensors.get_mut("model.layers.1.mlp.down_proj.weight").expect("it").1.reverse(),
        &format!(
            "tensor `model.layers.1.mlp.down_proj.weight`: found shape [56, 40], expected [40, 56]{MISSHAPEN}"
        ),
    );
    check_tensors(
        "llama_bias/hf",
        |tensors| tensors.get_mut("model.norm.weight").expect("it").1.push(1),
        &format!("tensor `model.norm.weight`: found shape [40, 1], expected [40]{MISSHAPEN}"),
    );
    check_tensors(
        "llama_bias/hf",
        |tensors| drop(tensors.insert("model.\u{7}score".to_owned(), (Dtype::F32, vec![1], vec![0; 4]))),
        "1 tensor has no place in architecture llama, the first is `model.\\u{7}score`; \
         the model is of another architecture than its metadata says",
    );
    check_tensors(
        "llama_bias/hf",
        |tensors| {
            let norm = tensors.get_mut("model.norm.weight").expect("it");
            *norm = (Dtype::I32, vec![40], vec![0; 160]);
        },
        "tensor `model.norm.weight`: I32 is not supported; supported are F32, F16, BF16",
    );
}

/// The head is the embedding, or it is not.
#[test]
fn ties() {
    check_tensors(
        "llama_bias/hf",
        |tensors| drop(tensors.remove("lm_head.weight")),
        &format!(
            "tensor `lm_head.weight`: found no such tensor among 34, expected one of shape [352, 40]{INCOMPLETE}"
        ),
    );
    check(
        "llama3/hf",
        vec![(
            json!({"tie_word_embeddings": null}),
            "tensor `lm_head.weight`: found no such tensor among 20, expected one of shape [384, 48]",
            INCOMPLETE,
        )],
    );
    // A tied matrix that is stored twice is allowed, whatever the second copy is.
    check("llama_bias/hf", vec![(json!({"tie_word_embeddings": true}), "none, it runs", "")]);
}
