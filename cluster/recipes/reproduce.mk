# make reproduce: the carried models and the experiments, from nothing, each target by a csgen command.
# What is whole is kept, what was cut off goes on where it stopped. The base takes one core some 50 minutes, each of 27
# encoders 10, each of 5 rerankers 20, all evaluations 90 (2-core machine, AMD EPYC); -j2 uses two: some five hours.
#   make reproduce TEACHER=FOLDER LEXICONS=FOLDER R=FOLDER
R ?= reproduce
DATA ?= data/debian
LEXICONS ?= ../shared/data/lexicons#        FreeDict (freedict/eng-XXX.tsv.xz), Open Multilingual Wordnet (omw/en-XX.tsv.xz), MUSE (muse/en-XX.tsv.xz)
TEACHER ?= sentence-transformers/all-MiniLM-L6-v2# an English encoder: a folder or a hub id
CSGEN ?= .venv/bin/csgen
export OMP_NUM_THREADS ?= 1

LANGUAGES := en,de,fr,it,ja,ko,ru,pl,uk,es,cs,da,pt-BR
SEEN := de,fr,it,ja,ru
SEEN_WORDS := de fr it ja ru
SEEDS ?= 1 2
PAIRS := $(DATA)/pairs/train.parquet

.PHONY: all base encoders rerankers models evaluations claims
.SECONDARY:
.SECONDEXPANSION:
all: models claims

# ---- data
$(DATA)/manifest.json:
	$(CSGEN) fetch debian --languages $(LANGUAGES) --output $(DATA)
$(R)/monolingual.parquet: | $(DATA)/manifest.json
	$(CSGEN) parallel $(PAIRS) --collection $(DATA) --languages $(LANGUAGES) --mix one --positives-only --output $@
$(R)/translated.parquet: | $(DATA)/manifest.json
	$(CSGEN) parallel $(PAIRS) --collection $(DATA) --languages en,$(SEEN) --mix drawn --output $@

# ---- lexicons: MUSE's, not for commercial use, for the experiments; dictionaries with free licences, for the carried
# models; one learnt from the train split
$(R)/lexicon-open/manifest.json:
	$(CSGEN) lexicon build $(foreach l,deu:de fra:fr ita:it jpn:ja rus:ru,freedict:en-$(lastword $(subst :, ,$l)):$(LEXICONS)/freedict/eng-$(firstword $(subst :, ,$l)).tsv.xz) \
	  $(foreach l,$(SEEN_WORDS),tsv:en-$l:$(LEXICONS)/omw/en-$l.tsv.xz) --output $(@D)
$(R)/lexicon/manifest.json:
	$(CSGEN) lexicon build $(foreach l,$(SEEN_WORDS),muse:en-$l:$(LEXICONS)/muse/en-$l.tsv.xz) --output $(@D)
$(R)/lexicon-learnt/manifest.json: | $(DATA)/manifest.json
	for l in $(SEEN_WORDS); do test -d $(R)/learnt-$$l || $(CSGEN) lexicon induce $(DATA) --source en --target $$l --split train --output $(R)/learnt-$$l || exit 1; done
	$(CSGEN) lexicon build $(foreach l,$(SEEN_WORDS),lexicon:$(R)/learnt-$l) --output $(@D)
$(R)/lexicon-to-english/manifest.json: $(R)/lexicon/manifest.json
	$(CSGEN) lexicon turn $(<D) --output $(@D)

# ---- the base: own vocabulary, embeddings from co-occurrences, masked language modelling, no parallel signal
$(R)/blank/manifest.json: | $(R)/monolingual.parquet
	$(CSGEN) train blank $(R)/monolingual.parquet --sample-texts 150000 --output $(@D)
$(R)/base/manifest.json: | $(R)/blank/manifest.json $(R)/monolingual.parquet
	$(CSGEN) train base $(R)/monolingual.parquet --config cluster/recipes/base.yaml --model $(R)/blank --output $(@D) --curves plots
base: $(R)/base/manifest.json

# ---- encoders and rerankers, all of them from the base, with the same number of texts: NAME.SEED
SWITCH_BY := --languages $(SEEN) --switched-share 1 --switched replace --lexicon
TWINS_BY := --languages $(SEEN) --switched-share 1 --switched beside --lexicon
SWITCH := $(SWITCH_BY) $(R)/lexicon
TWINS := $(TWINS_BY) $(R)/lexicon
FOLLOW := --teacher $(TEACHER) --teacher-precision bf16 --teacher-vectors $(R)/teacher

STEPS := 480
TWIN_STEPS := 240# every example stands there twice

OPTIONS_zero-shot :=
OPTIONS_ml-cs := $(SWITCH)
OPTIONS_translated :=
OPTIONS_ml-cs-scores := $(TWINS) --align-scores 1 --twin-relevance 1
OPTIONS_ml-cs-twins := $(TWINS) --align-twins 1 --twin-relevance 1
OPTIONS_ml-cs-mix := $(TWINS) --align-twins 0.1
OPTIONS_ml-cs-words := $(TWINS) --align-words 0.5 --twin-relevance 1
OPTIONS_ml-cs-noise := $(SWITCH) --noise 0.1
OPTIONS_ml-cs-adversarial := $(SWITCH) --adversarial-epsilon 0.1
OPTIONS_ml-cs-p25 := $(SWITCH) --probability 0.25
OPTIONS_ml-cs-p75 := $(SWITCH) --probability 0.75
OPTIONS_ml-cs-p100 := $(SWITCH) --probability 1
OPTIONS_ml-cs-queries := $(SWITCH) --sides query
OPTIONS_ml-cs-passages := $(SWITCH) --sides passage
OPTIONS_ml-cs-phrase := $(SWITCH) --policy phrase --max-words 3 --probability 1
OPTIONS_ml-cs-open := $(SWITCH_BY) $(R)/lexicon-open
OPTIONS_ml-cs-open-words := $(TWINS_BY) $(R)/lexicon-open --align-words 0.5 --twin-relevance 1
OPTIONS_ml-cs-open-teacher := $(SWITCH_BY) $(R)/lexicon-open --teach 1 --teach-contrast 1 $(FOLLOW)
OPTIONS_ml-cs-learnt := $(SWITCH_BY) $(R)/lexicon-learnt
OPTIONS_bl-cs-de-en := $(SWITCH) --policy bilingual --query-languages de --passage-languages en
OPTIONS_bl-cs-en-ru := $(SWITCH) --policy bilingual --query-languages en --passage-languages ru
OPTIONS_bl-cs-ja-fr := $(SWITCH) --policy bilingual --query-languages ja --passage-languages fr
OPTIONS_bl-cs-it-de := $(SWITCH) --policy bilingual --query-languages it --passage-languages de
NAMES := $(patsubst OPTIONS_%,%,$(filter OPTIONS_%,$(.VARIABLES)))
CORE := zero-shot ml-cs ml-cs-words translated

name = $(basename $(notdir $*))
seed = $(patsubst .%,%,$(suffix $(notdir $*)))
pairs = $(if $(filter translated%,$(name)),$(R)/translated.parquet,$(PAIRS))
steps = $(if $(findstring beside,$(OPTIONS_$(name))),$(TWIN_STEPS),$(STEPS))

$(R)/encoder/%/manifest.json: | $(R)/base/manifest.json $(R)/lexicon/manifest.json $(R)/lexicon-open/manifest.json \
  $(R)/lexicon-learnt/manifest.json $(R)/translated.parquet
	$(CSGEN) train encoder $(pairs) --model $(R)/base --output $(@D) --seed $(seed) --curves plots --quiet \
	  --negatives 1 --batch-size 64 --micro-batch-size 64 --max-tokens 64 --learning-rate 1e-3 --warmup-steps 40 \
	  --steps $(steps) --checkpoint-every 60 --keep-checkpoints 1 $(OPTIONS_$(name))

encoders: $(foreach n,$(CORE),$(foreach s,$(SEEDS),$(R)/encoder/$n.$s/manifest.json)) \
  $(foreach n,$(filter-out $(CORE),$(NAMES)),$(R)/encoder/$n.1/manifest.json)

# ---- rerankers: each from the encoder of its kind, so that nothing of a lexicon reaches zero-shot
RELEVANCE := --listwise 0.5 --distil 1 $(FOLLOW)
R_STEPS := 1600
R_TWIN_STEPS := 800
RERANKER_zero-shot :=
RERANKER_ml-cs := $(SWITCH)
RERANKER_translated := --teacher-pairs $(PAIRS)
RERANKER_ml-cs-scores := $(TWINS) --align-scores 1 --twin-relevance 1
RERANKER_carried := $(TWINS_BY) $(R)/lexicon-open --align-scores 1 --twin-relevance 1
FROM_zero-shot := zero-shot
FROM_ml-cs := ml-cs
FROM_translated := translated
FROM_ml-cs-scores := ml-cs
FROM_carried := ml-cs-open-words
RERANKERS := $(patsubst RERANKER_%,%,$(filter RERANKER_%,$(.VARIABLES)))

R_SEEDS ?= 1
r_steps = $(if $(findstring beside,$(RERANKER_$(name))),$(R_TWIN_STEPS),$(R_STEPS))
$(R)/reranker/%/manifest.json: | $$(R)/encoder/$$(FROM_$$(basename $$*))$$(suffix $$*)/manifest.json
	$(CSGEN) train reranker $(pairs) --model $(R)/encoder/$(FROM_$(name)).$(seed) --output $(@D) --seed $(seed) --curves plots --quiet \
	  --negatives 4 --batch-size 16 --micro-batch-size 16 --max-tokens 80 --learning-rate 5e-4 --warmup-steps 40 \
	  --steps $(r_steps) --checkpoint-every 200 --keep-checkpoints 1 $(RELEVANCE) $(RERANKER_$(name))

rerankers: $(foreach n,$(RERANKERS),$(foreach s,$(R_SEEDS),$(R)/reranker/$n.$s/manifest.json))

# ---- the models that the package carries, as indexing/carried holds them
$(R)/carried/csgen-base/manifest.json: | $(R)/base/manifest.json
	$(CSGEN) pack $(R)/base --card cluster/recipes/cards/base.md --output $(@D)
$(R)/carried/csgen-encoder/manifest.json: | $(R)/encoder/ml-cs-open-words.1/manifest.json
	$(CSGEN) pack $(R)/encoder/ml-cs-open-words.1 --card cluster/recipes/cards/encoder.md --output $(@D)
$(R)/carried/csgen-reranker/manifest.json: | $(R)/reranker/carried.1/manifest.json
	$(CSGEN) pack $(R)/reranker/carried.1 --card cluster/recipes/cards/reranker.md --output $(@D)
models: $(foreach n,base encoder reranker,$(R)/carried/csgen-$n/manifest.json)

# ---- what they are worth; the experiments name the folder reproduce/
EXPERIMENTS := encoders rerankers whole xquad-r gdpr canada robustness
evaluations: encoders rerankers $(R)/lexicon-to-english/manifest.json
	for e in $(EXPERIMENTS); do $(CSGEN) evaluate eval/experiments/claims-$$e.yaml --output results/claims-$$e || exit 1; done
claims: evaluations
	$(CSGEN) claims eval/experiments/claims.yaml --output $(R)/claims
