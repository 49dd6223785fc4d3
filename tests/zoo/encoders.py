"""Rows of the zoo: transformers whose tokens look both ways, by architecture."""

from __future__ import annotations

from tests.zoo import vocabularies as vocabulary
from tests.zoo.building import TOKENS, architecture, normalize
from tests.zoo.checks import Row

E5 = {"query": "query: ", "passage": "passage: "}
"""The prompts of E5 models."""

BEHIND_PADDING = TOKENS + 2
"""Rows in the table of positions of RoBERTa and its kin, which begin behind the padding's."""

ROWS = (
    Row("BERT", architecture("bert"), like="snunlp/KR-SBERT, jhgan/ko-sbert-sts"),
    Row(
        "BERT, Unigram tokenizer",
        architecture("bert", vocabulary.xlm_roberta),
        like="paraphrase-multilingual-MiniLM-L12-v2",
    ),
    Row(
        "BERT, six heads, six layers",
        architecture("bert", modules=normalize, num_hidden_layers=6, num_attention_heads=4, type_vocab_size=2),
        like="all-MiniLM-L6-v2",
    ),
    Row(
        "RoBERTa, BERT's tokenizer",
        architecture(
            "roberta", vocabulary.klue, pooling="cls", max_position_embeddings=BEHIND_PADDING, type_vocab_size=1
        ),
        like="klue/roberta-base, jhgan/ko-sroberta-multitask, BM-K/KoSimCSE-roberta",
    ),
    Row(
        "RoBERTa",
        architecture("roberta", vocabulary.roberta, max_position_embeddings=BEHIND_PADDING, type_vocab_size=1),
        like="all-distilroberta-v1",
    ),
    Row(
        "XLM-RoBERTa",
        architecture(
            "xlm-roberta",
            vocabulary.xlm_roberta,
            modules=normalize,
            prompts=E5,
            max_position_embeddings=BEHIND_PADDING,
            type_vocab_size=1,
        ),
        like="intfloat/multilingual-e5-large",
    ),
    Row(
        "XLM-RoBERTa, first token",
        architecture(
            "xlm-roberta",
            vocabulary.xlm_roberta,
            pooling="cls",
            modules=normalize,
            max_position_embeddings=BEHIND_PADDING,
            type_vocab_size=1,
        ),
        like="BAAI/bge-m3, nlpai-lab/KURE-v1, dragonkue/BGE-m3-ko",
    ),
    Row(
        "XLM-RoBERTa XL",
        architecture("xlm-roberta-xl", vocabulary.xlm_roberta, max_position_embeddings=BEHIND_PADDING),
        like="facebook/xlm-roberta-xl",
    ),
    Row("ELECTRA", architecture("electra", embedding_size=16), like="monologg/koelectra-base-v3"),
    Row("ALBERT", architecture("albert", vocabulary.albert, embedding_size=16), like="kykim/albert-kor-base"),
    Row(
        "DistilBERT",
        architecture("distilbert", hidden_dim=64),
        like="monologg/distilkobert, distiluse-base-multilingual",
    ),
    Row(
        "DeBERTa",
        architecture(
            "deberta",
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_biased_input=False,
            max_relative_positions=-1,
        ),
        like="microsoft/deberta-base",
        packed=False,
    ),
    Row(
        "DeBERTa-v2",
        architecture(
            "deberta-v2",
            vocabulary.deberta,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            conv_kernel_size=3,
            conv_act="gelu",
            position_buckets=16,
        ),
        like="team-lucid/deberta-v3-base-korean",
        packed=False,
    ),
    Row(
        "DeBERTa-v3",
        architecture(
            "deberta-v2",
            vocabulary.deberta,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            position_biased_input=False,
            position_buckets=16,
            type_vocab_size=0,
        ),
        like="microsoft/mdeberta-v3-base, lighthouse/mdeberta-v3-base-kor-further",
        packed=False,
    ),
    Row(
        "MPNet",
        architecture("mpnet", vocabulary.mpnet, modules=normalize, max_position_embeddings=BEHIND_PADDING),
        like="all-mpnet-base-v2",
    ),
    Row(
        "CamemBERT",
        architecture("camembert", vocabulary.camembert, max_position_embeddings=BEHIND_PADDING, type_vocab_size=1),
        like="dangvantuan/sentence-camembert-base",
    ),
    Row(
        "data2vec text",
        architecture("data2vec-text", vocabulary.roberta, max_position_embeddings=BEHIND_PADDING, type_vocab_size=1),
        like="facebook/data2vec-text-base",
    ),
    Row(
        "BigBird, full attention",
        architecture("big_bird", attention_type="original_full"),
        like="monologg/kobigbird-bert-base with short texts",
    ),
    Row(
        "Longformer",
        architecture(
            "longformer",
            vocabulary.roberta,
            attention_window=[8, 8],
            max_position_embeddings=BEHIND_PADDING,
            type_vocab_size=1,
        ),
        like="allenai/longformer-base-4096",
        packed=False,
        runtime="torch",
    ),
    Row(
        "XLNet",
        architecture("xlnet", vocabulary.xlnet, d_inner=64, d_head=16, max_position_embeddings=None),
        like="xlnet-base-cased",
        packed=False,
    ),
    Row(
        "Nyströmformer",
        architecture("nystromformer", max_position_embeddings=BEHIND_PADDING),
        like="uw-madison/nystromformer-512",
        runtime="torch",
        packed=False,
    ),
    Row(
        "ModernBERT",
        architecture(
            "modernbert",
            vocabulary.modernbert,
            num_hidden_layers=4,
            local_attention=16,
            global_attn_every_n_layers=2,
        ),
        like="Alibaba-NLP/gte-modernbert-base, skt/A.X-Encoder-base",
    ),
    Row(
        "EuroBERT",
        architecture(
            "eurobert",
            lambda: vocabulary.byte_level(
                {"pad": "<|pad|>", "bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "mask": "<|mask|>"},
                begin="<|begin_of_text|>",
                end="<|end_of_text|>",
                model_input_names=["input_ids", "attention_mask"],
            ),
            num_key_value_heads=1,
        ),
        like="EuroBERT/EuroBERT-210m",
    ),
    Row("NomicBERT", architecture("nomic_bert", type_vocab_size=2), like="nomic-ai/nomic-embed-text-v1.5"),
    Row("GTE", architecture("gte", vocabulary.xlm_roberta, pooling="cls"), like="Alibaba-NLP/gte-multilingual-base"),
    Row(
        "Jina v3",
        architecture("jina_embeddings_v3", vocabulary.xlm_roberta, modules=normalize),
        like="jinaai/jina-embeddings-v3 without its adapters",
    ),
    Row(
        "T5 encoder",
        architecture("t5", vocabulary.t5, d_kv=16, d_ff=64, relative_attention_num_buckets=8),
        like="sentence-t5-base, ko-t5",
    ),
    Row(
        "mT5 encoder",
        architecture("mt5", vocabulary.t5, d_kv=16, d_ff=64, relative_attention_num_buckets=8),
        like="google/mt5-base, paust/pko-t5-base",
    ),
    Row(
        "UMT5 encoder",
        architecture("umt5", vocabulary.t5, d_kv=16, d_ff=64, relative_attention_num_buckets=8),
        like="google/umt5-base",
    ),
    Row("RemBERT", architecture("rembert", input_embedding_size=16, output_embedding_size=16), like="google/rembert"),
    Row("ERNIE", architecture("ernie", use_task_id=True, task_type_vocab_size=3), like="nghuyong/ernie-3.0-base"),
    Row("RoFormer", architecture("roformer", embedding_size=32), like="junnyu/roformer_chinese_base", packed=False),
    Row("Megatron BERT", architecture("megatron-bert"), like="nvidia/megatron-bert-cased-345m"),
    Row(
        "MobileBERT",
        architecture("mobilebert", embedding_size=16, intra_bottleneck_size=16, num_feedforward_networks=2),
        like="google/mobilebert-uncased",
        runtime="torch",
        packed=False,
    ),
    Row("SqueezeBERT", architecture("squeezebert", embedding_size=32), like="squeezebert/squeezebert-uncased"),
    Row(
        "ConvBERT",
        architecture("convbert", embedding_size=32, conv_kernel_size=3, head_ratio=1),
        like="YituTech/conv-bert-base",
        runtime="torch",
        packed=False,
    ),
    Row(
        "FNet",
        architecture("fnet", vocabulary.albert),
        like="google/fnet-base",
        runtime="torch",
        packed=False,
    ),
    Row(
        "BART",
        architecture(
            "bart",
            vocabulary.roberta,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            decoder_start_token_id=2,
        ),
        like="gogamza/kobart-base-v2",
        packed=False,
    ),
)
