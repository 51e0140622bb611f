"""The table of usage mistakes: command | a part of the sentence that it gets.

``TRAIN`` and ``HML`` stand for a training without and with HML that would run, ``FILE x`` for one with HML and the
config file x, ``DATA x`` for one with HML on the dataset folder x. ``mistaken_files.py`` makes the files.
"""

from __future__ import annotations

#: Short word -> the words of the command line that it stands for; the rest of the line stands at {}, else behind.
SHORT = {
    "TRAIN": "run --data vg tools/relation_train_net.py --config-file demo.yaml --skip-test OUTPUT_DIR out",
    "HML": "run --data vg tools/relation_train_net.py --config-file demo.yaml --skip-test OUTPUT_DIR out "
           "HML.ENABLED True",
    "FILE": "run --data vg tools/relation_train_net.py --config-file {} OUTPUT_DIR out HML.ENABLED True",
    "DATA": "run --data {} tools/relation_train_net.py --config-file demo.yaml OUTPUT_DIR out HML.ENABLED True",
    "TEST": "run --data vg tools/relation_test_net.py --config-file demo.yaml OUTPUT_DIR",
}

#: Mistakes with ``hml run``: a checkout of SGB says the same.
RUN = """
run tools/nothing.py                             | there is no script tools/nothing.py
run --data vg                                    | the following arguments are required: SCRIPT
run --data nowhere tools/relation_train_net.py   | there is no dataset folder nowhere
run --data afile tools/relation_train_net.py     | there is no dataset folder afile
run --data vg notes.txt                          | notes.txt is no Python script; name one
run --data vg script.py                          | script.py is not Python that can be read
run --data vg bytes.py                           | bytes.py is not Python that can be read
run --data vg failing.py                         | needs the module no_such_module, which is not installed here
run --data vg nomain.py                          | nomain.py has no function main()
run --data vg emptydir                           | there is no script emptydir
run --data vg tools/relation_train_net.py        | no configuration is given; add --config-file FILE
run --data vg tools/relation_train_net.py --config-file            | argument --config-file: expected one argument
run --data vg tools/relation_train_net.py --config-file emptydir   | the config file emptydir is a folder
run --data vg tools/relation_train_net.py --config-file no.yaml    | the config file no.yaml does not exist
run --data vg tools/relation_train_net.py HML.ENABLED True         | no configuration is given; add --config-file FILE
run --data vg tools/relation_train_net.py --config-file demo.yaml --skiptest | unrecognized arguments: --skiptest
run tools/relation_train_net.py --config-file demo.yaml --data vg OUTPUT_DIR out | --data is an option of hml run
TRAIN --skip-test                                | --skip-test stands among the KEY VALUE pairs, where it has no effect
HML --skip-test                                  | put it before the first KEY VALUE pair
HML --data vg                                    | --data stands among the KEY VALUE pairs
HML --data=vg                                    | put it before the script
HML --config-file demo.yaml                      | --config-file stands among the KEY VALUE pairs
FILE broken.yaml                                 | broken.yaml is not valid YAML at line 3
FILE list.yaml                                   | list.yaml holds a list and no settings
FILE utf16.yaml                                  | utf16.yaml is not a text file in UTF-8
FILE hml3.yaml                                   | HML is 3, but it is a section with keys of its own
FILE hmllist.yaml                                | HML is [1], but it is a section with keys of its own
FILE solver3.yaml                                | SOLVER is 3, but it is a section with keys of its own
FILE key.yaml                                    | there is no key SOLVRE; did you mean SOLVER?
FILE hmlkey.yaml                                 | there is no key HML.CR.WIEGHT; did you mean HML.CR.WEIGHT?
FILE hmlval.yaml                                 | hmlval.yaml: HML.CR.WEIGHT is -5.0; give a number >= 0
FILE actions.yaml                                | YAML reads on (line 75) as True: if that is not meant, write 'on'
FILE octal.yaml                                  | YAML reads 010 (line 75) as 8
FILE twice.yaml                                  | line 75 repeats the key SOLVER of line 56; keep one
FILE yes.yaml                                    | YAML reads the key yes in line 75 as True; write 'yes'
FILE nothing.yaml                                | YAML reads the key ~ in line 75 as None
FILE number.yaml                                 | number.yaml: there is no key 3
FILE listkey.yaml                                | line 75 has a list or a mapping as a key
FILE null.yaml                                   | null.yaml: HML.CR.WEIGHT is None; give a number >= 0
FILE hostnull.yaml                               | SOLVER.MAX_ITER has no value; give a whole number, or
FILE tab.yaml                                    | tab.yaml is not valid YAML at line 76
FILE alias.yaml                                  | alias.yaml is not valid YAML at line 75
FILE loop.yaml                                   | is an alias of itself
FILE two.yaml                                    | two.yaml is not valid YAML at line 75
FILE tag.yaml                                    | tag.yaml is not valid YAML at line 75
FILE a.json                                      | a.json has the suffix .json, which yacs does not read
FILE conf.py                                     | conf.py: Python module from file conf.py must have 'cfg' attr
FILE confbad.py                                  | confbad.py is not valid Python at line 1
FILE hostint.yaml                                | SOLVER.BASE_LR is 1; give a number with a decimal point such as 1.0
FILE date.yaml                                   | YAML reads 2020-01-01 (line 75) as
FILE baddate.yaml                                | baddate.yaml is not valid YAML
FILE predon.yaml                                 | PREDICTOR is True; give a text
FILE dotted.yaml                                 | in a file, nest it: HML: {CR: {WEIGHT: ...}}
FILE below.yaml                                  | OUTPUT_DIR is a single setting, but there are keys below it
TRAIN SOLVER.BASE_LRR 1                          | there is no key SOLVER.BASE_LRR; did you mean SOLVER.BASE_LR?
TRAIN SOLVER.BASE_LR                             | SOLVER.BASE_LR has no value; add it
TRAIN SOLVER.BASE_LR fast                        | SOLVER.BASE_LR is 'fast'; give a number with a decimal point
TRAIN SOLVER 3                                   | SOLVER is 3, but it is a section
TRAIN BASE_LR 3                                  | there is no key BASE_LR; did you mean SOLVER.BASE_LR?
TRAIN solver.base_lr 0.1                         | there is no key solver.base_lr; did you mean SOLVER.BASE_LR?
TRAIN SOLVER.BASE_LR=0.1                         | write SOLVER.BASE_LR 0.1
TRAIN HML.CR.WIEGHT 1                            | there is no setting HML.CR.WIEGHT; did you mean HML.CR.WEIGHT?
TRAIN HML 3                                      | HML is 3, but it is a section
TRAIN HML.ENABLED                                | HML.ENABLED has no value; give True or False
TRAIN HML.ENABLED yes                            | HML.ENABLED is 'yes'; give True or False
TRAIN hml.enabled True                           | there is no key hml.enabled; did you mean HML.ENABLED?
HML HML.CR.WEIGHT -1                             | HML.CR.WEIGHT is -1.0; give a number >= 0
HML HML.SEED 1.5                                 | HML.SEED is '1.5'; give a number >= 0
HML HML.STAGES.LABELS most                       | HML.STAGES.LABELS is ('most',); give a list of 'only'
HML HML.STAGES.ITERATIONS 1,2,3                  | HML.STAGES.ITERATIONS has 3 entries but the tree has 2 layers
HML HML.TREE.FILE no.json                        | HML.TREE.FILE no.json does not exist
HML HML.TREE.FILE t-script.json                  | layers are numbered from 1
HML HML.TREE.OVERRIDES ov-num.json               | the override of 'on' gives layer 3
HML HML.TREE.BUILDER clustered                   | HML.TREE.BUILDER clustered needs word vectors
HML HML.TREE.BUILDER frequency HML.TREE.BOUNDARIES 50 | the boundaries [50] must ascend between 0 and 50
HML HML.PROFILE best                             | HML.PROFILE is 'best'; give one of 'paper'
HML HML.CONTROL magic                            | HML.CONTROL is 'magic'; give one of
HML MODEL.RELATION_ON False                      | there is no relation head to train; set it to True
TRAIN MODEL.DEVICE gpu                           | MODEL.DEVICE is 'gpu'; give cpu, cuda
TRAIN MODEL.DEVICE 3                             | MODEL.DEVICE is 3; give a text
TRAIN DATALOADER.NUM_WORKERS -1                  | DATALOADER.NUM_WORKERS is -1; give a whole number of at least 0
TRAIN DATALOADER.SIZE_DIVISIBILITY -1            | DATALOADER.SIZE_DIVISIBILITY is -1
TRAIN INPUT.PIXEL_STD [0,0,0]                    | INPUT.PIXEL_STD is [0, 0, 0]; give three numbers above 0
TRAIN INPUT.PIXEL_STD [1,1]                      | INPUT.PIXEL_STD is [1, 1]; give three numbers
TRAIN INPUT.PIXEL_MEAN [1]                       | INPUT.PIXEL_MEAN is [1]; give three numbers
TRAIN INPUT.MIN_SIZE_TRAIN (0,)                  | INPUT.MIN_SIZE_TRAIN is (0,); give sizes in pixels
TRAIN INPUT.MIN_SIZE_TRAIN ()                    | INPUT.MIN_SIZE_TRAIN is ()
TRAIN INPUT.MAX_SIZE_TRAIN 0                     | INPUT.MAX_SIZE_TRAIN is 0
TRAIN INPUT.MIN_SIZE_TEST 0                      | INPUT.MIN_SIZE_TEST is 0
TRAIN SOLVER.IMS_PER_BATCH 0                     | SOLVER.IMS_PER_BATCH is 0; give a whole number of at least 1
TRAIN TEST.IMS_PER_BATCH 0                       | TEST.IMS_PER_BATCH is 0; give a whole number of at least 1
TRAIN SOLVER.CHECKPOINT_PERIOD 0                 | SOLVER.CHECKPOINT_PERIOD is 0
TRAIN SOLVER.VAL_PERIOD 0                        | SOLVER.VAL_PERIOD is 0
TRAIN SOLVER.PRINT_GRAD_FREQ 0                   | SOLVER.PRINT_GRAD_FREQ is 0
TRAIN SOLVER.MAX_ITER -1                         | SOLVER.MAX_ITER is -1
TRAIN SOLVER.BASE_LR 0.0                         | SOLVER.BASE_LR is 0.0; give a number above 0
TRAIN SOLVER.GRAD_NORM_CLIP -1.0                 | SOLVER.GRAD_NORM_CLIP is -1.0
TRAIN SOLVER.STEPS 10                            | SOLVER.STEPS is 10; give a list such as (1,)
TRAIN SOLVER.SCHEDULE.TYPE Cosine                | SOLVER.SCHEDULE.TYPE is 'Cosine'; use one of WarmupMultiStepLR
TRAIN SOLVER.WARMUP_METHOD slow                  | SOLVER.WARMUP_METHOD is 'slow'; use one of constant, linear
TRAIN DATASETS.TRAIN nosuch_train                | DATASETS.TRAIN is 'nosuch_train'; give a list such as (1,) or ('a',)
TRAIN DATASETS.TRAIN ()                          | DATASETS.TRAIN names no dataset
TRAIN DATASETS.TRAIN "('VG_nosuch_train',)"      | VG_nosuch
TRAIN MODEL.ROI_RELATION_HEAD.PREDICTOR Motifs   | there is no relation predictor 'Motifs'
TRAIN MODEL.ROI_RELATION_HEAD.NUM_CLASSES 71     | has 51 predicates with the background; add
TRAIN MODEL.ROI_BOX_HEAD.NUM_CLASSES 81          | add MODEL.ROI_BOX_HEAD.NUM_CLASSES 151
TRAIN MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE 0 | BATCH_SIZE_PER_IMAGE is 0; give a whole number of at least 1
TRAIN MODEL.ROI_RELATION_HEAD.POSITIVE_FRACTION 2.0  | POSITIVE_FRACTION is 2.0; give a share above 0 and at most 1
HML MODEL.ROI_RELATION_HEAD.USE_GT_BOX False MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL True | which is no task
TRAIN MODEL.BACKBONE.CONV_BODY R-1000            | MODEL.BACKBONE.CONV_BODY is 'R-1000', which is not known
TRAIN MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR FPN2MLPFeature | did you mean FPN2MLPFeatureExtractor?
TRAIN OUTPUT_DIR afile                           | the folder afile cannot be written
TRAIN OUTPUT_DIR logdir                          | holds a folder called log.txt, where the run writes its file
TRAIN OUTPUT_DIR lastdir                         | last_checkpoint is a folder
HML OUTPUT_DIR ''                                | OUTPUT_DIR is empty
HML OUTPUT_DIR confdir                           | holds a folder called config.yml
HML OUTPUT_DIR set1                              | set1/hml/settings.json holds no settings
HML OUTPUT_DIR set2                              | set2/hml/settings.json is not readable JSON
HML OUTPUT_DIR set3                              | set3/hml/settings.json holds no settings
HML OUTPUT_DIR set4                              | holds a folder called hml/settings.json
HML OUTPUT_DIR set5                              | holds a file called hml, where the run makes a folder
HML OUTPUT_DIR set6                              | set6/hml was begun
HML OUTPUT_DIR res-list                          | model_0000003.hml.pt has another content than a resume file
HML OUTPUT_DIR res-other                         | model_0000003.hml.pt has another content than a resume file
HML OUTPUT_DIR mem                               | memory.pt
DATA d-labels                                    | the array 'labels' has shape
DATA d-box5                                      | the array 'boxes_1024' has shape
DATA d-float                                     | the array 'predicates' holds float64; it must hold integers
DATA d-nan                                       | the box of object 0 is xc, yc, w, h = [nan, nan, nan, nan]
DATA d-outside                                   | all boxes of image 0 (image_id 10001) lie outside its picture
DATA d-flat                                      | w and h above 0
DATA d-label                                     | 'labels' of object 0 is 999; it must lie in 1..150
DATA d-pred0                                     | 'predicates' of relation 0 is 0; it must lie in 1..50
DATA d-relation                                  | not both of which belong to that image
DATA d-nosplit                                   | has no array 'split'
DATA d-split7                                    | 'split' of image 0 is 7; it must be 0 (training)
DATA d-rows                                      | image 0 claims rows 1000000
DATA d-emptyh5                                   | is empty (0 bytes)
DATA d-idxtext                                   | predicate_to_idx gives 'on' the index '1x'; give a whole number
DATA d-idxnull                                   | predicate_to_idx gives 'on' the index None
DATA d-idxgap                                    | the indices of label_to_idx are not 1 to 150
DATA d-dicts                                     | holds a JSON list
DATA d-nowidth                                   | entry 0 has width None
DATA d-noid                                      | entry 0 has image_id None
DATA d-width0                                    | entry 0 has width 0
DATA d-images                                    | holds a JSON dict; it must be a list of images
DATA d-entry                                     | entry 0 has width None
DATA d-short                                     | lists 44 images but the annotation file
DATA d-nodicts                                   | d-nodicts has no VG-SGG-dicts-with-attri.json
TEST emptydir HML.TEST.TAU -1                    | HML.TEST.TAU is (-1,)
"""

#: The other commands, and what only the bundled benchmark says.
OTHER = """
run                                              | the following arguments are required: SCRIPT
run --sgb nowhere tools/relation_train_net.py    | --sgb nowhere is not a Scene-Graph-Benchmark checkout
run --nosuch tools/relation_train_net.py         | unrecognized arguments: --nosuch
TRAIN MODEL.ATTRIBUTE_ON True                    | MODEL.ATTRIBUTE_ON is on, which this benchmark does not have
TRAIN SOLVER.STEPS (20,10)                       | give the iterations in ascending order
TRAIN DTYPE float8                               | DTYPE is 'float8'; use one of float32
TRAIN PATHS_CATALOG no.py                        | there is no file no.py to import
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT no.pth      | MODEL.PRETRAINED_DETECTOR_CKPT is no.pth, which is not a file
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT list.pth    | list.pth holds a list, not a checkpoint
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT noweights.pth | noweights.pth holds no weights
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT half.pth    | half.pth
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT pickle.pth  | pickle.pth
TRAIN MODEL.PRETRAINED_DETECTOR_CKPT afile       | afile
TEST nowhere                                     | there is nothing to test
TEST emptydir DATASETS.TO_TEST all               | DATASETS.TO_TEST is 'all'; use one of train, val, test
nosuch                                           | invalid choice: 'nosuch'
--nosuch                                         | unrecognized arguments: --nosuch
demo --seeds 0                                   | --seeds is 0; give a whole number of at least 1
demo --jobs 0                                    | --jobs is 0; give a whole number of at least 1
demo --layers 99                                 | --layers is 99; give a whole number from 1 to 4
demo --iterations 1                              | --iterations is 1; give at least 2
demo --data emptydir                             | emptydir has no VG-SGG-with-attri.h5
demo --tree clustered                            | --tree clustered needs word vectors
demo --tree t-bad.json                           | t-bad.json is not valid JSON at line 1
demo --vectors no.vec                            | the word vectors no.vec do not exist
demo --tree frequency --vectors few.vec          | --vectors has no effect with --tree frequency
demo --detector no.pth                           | there is no detector no.pth
demo --detector afile --task sgcls --data vg     | afile is a text file
demo --config no.yaml                            | there is no config file no.yaml
demo --config broken.yaml                        | broken.yaml is not valid YAML at line 3
demo --config list.yaml                          | list.yaml holds a list and no settings
demo --config demo.yaml --task sgcls             | leave out --task or --config
demo --out afile --data vg                       | --out is afile, but afile is a file; name a folder
demo --out afile/x --data vg                     | --out is afile/x, but afile is a file
demo --data d-nan                                | not a number
experiment tabel1                                | there is no experiment 'tabel1'; did you mean table1?
experiment no.yaml                               | there is no experiment 'no.yaml'
experiment g-list.yaml                           | g-list.yaml: the file is ['a']; give keys and values
experiment g-broken.yaml                         | g-broken.yaml is not valid YAML
experiment g-utf16.yaml                          | g-utf16.yaml is not a text file in UTF-8
experiment g-empty.yaml                          | g-empty.yaml: the file is None; give keys and values
experiment g-twice.yaml                          | line 5 repeats the key iterations of line 2; keep one
experiment g-yes.yaml                            | YAML reads the key yes in line 2 as True; write 'yes'
experiment g-key.yaml                            | the file has 'seedz'; did you mean 'seeds'?
experiment g-float.yaml                          | iterations is 10.0; give a whole number
experiment g-name.yaml                           | name is True; give a text; YAML reads on (line 4) as True
experiment g-set.yaml                            | HML.ENABLED is 'maybe'; give True or False
experiment g-host.yaml                           | a has 'SOLVER.BASE_LRR'; did you mean 'SOLVER.BASE_LR'?
experiment g-type.yaml                           | SOLVER.BASE_LR is 'fast'; give a value like the default
experiment g-null.yaml                           | SOLVER.BASE_LR has no value
experiment g-actions.yaml                        | YAML reads on (line 4) as True: if that is not meant, write 'on'
experiment g-nested.yaml                         | a has 'HML'
experiment g-include.yaml                        | there is no experiment 'nosuch'
experiment g-self.yaml                           | g-self.yaml includes itself
experiment g-predictors.yaml                     | predictors is 3; give a list
experiment g-axes.yaml                           | axes is {'a': 1}; give a list
experiment g-axis.yaml                           | axes: a: set is 3; give keys and values
experiment g-merged.yaml                         | merged is 'maybe'; give true or false
experiment g-after.yaml                          | after of 'b' has 'zz'
experiment g-ok.yaml --data nowhere              | there is no dataset folder nowhere
experiment g-ok.yaml --data vg --out afile       | --out is afile, but afile is a file
experiment g-ok.yaml --jobs -1                   | --jobs is -1; give a whole number of at least 1
experiment g-ok.yaml --predictors motives        | g-ok has no 'motives' among its predictors
tree                                             | one of the arguments --data --counts --show is required
tree --data nowhere --builder frequency          | there is no dataset folder nowhere
tree --data vg                                   | the clustered builder needs word vectors
tree --data vg --vectors emptydir                | the word vectors emptydir do not exist
tree --data vg --vectors few.vec                 | have no vector in few
tree --data vg --vectors bad.vec                 | bad.vec line 1 is not a 'word number number ...' row
tree --data vg --builder frequency --boundaries 0  | the boundaries [0] must ascend
tree --data vg --builder frequency --out emptydir  | the tree emptydir cannot be written
tree --data vg --builder frequency --out afile/x   | the tree afile/x cannot be written
tree --data d-idxtext --builder frequency        | predicate_to_idx gives 'on' the index '1x'
tree --counts c-list.json --builder frequency    | the counts file c-list.json must hold
tree --counts c-float.json --builder frequency   | must map each predicate to a whole number
tree --counts c-less.json --builder frequency    | there is no count for the predicate 'b'
tree --counts c-twice.json --builder frequency   | the predicate 'a' is listed twice
tree --counts c-none.json --builder frequency    | there is no predicate to build a tree from
tree --show t-square.json                        | layers are numbered from 1
tree --show t-script.json                        | layers are numbered from 1
tree --show t-nolayer.json                       | the tree t-nolayer.json lacks 'layers'
tree --show t-count.json                         | the count of 'on' in the tree t-count.json is 'many'
tree --show t-gap.json                           | into layer 3; layers run from 1 to 2
tree --show t-names.json                         | 'layers' in the tree t-names.json must hold lists of names
tree --show t-version.json                       | has the version 9, this hml reads 1
tree --show t-list.json                          | t-list.json is no predicate tree
tree --show emptydir                             | the predicate tree emptydir does not exist
tree --show t-gap.json --boundaries 3            | --boundaries belongs to building a tree
data                                             | the following arguments are required: COMMAND
data chek vg                                     | invalid choice: 'chek'
data check emptydir                              | emptydir has no VG-SGG-with-attri.h5
data check d-idxnull                             | 'predicate_to_idx' gives None
data check d-nan                                 | not a number
data check d-nophotos                            | has no folder VG_100K
data make-mini-vg out --images 3                 | mini-VG needs at least 45 images
data make-mini-vg out --seed -1                  | the seed must be 0 or more
data make-mini-vg vg                             | vg is not empty
data make-mini-vg afile                          | afile is a file; name a folder for the dataset
data make-mini-vg afile/x                        | is a file; name a folder
data make-mini-vg logdir --force                 | logdir is not a dataset folder
data convert-vrd emptydir out                    | emptydir has no objects.json
data clean vg vg                                 | vg is the folder to clean itself
data clean d-labels out                          | the array 'labels' has shape
data placeholders d-nowidth                      | entry 0 has width None
data subset vg vg                                | vg is not empty; choose another folder or add --force
data subset vg out --predicates nosuch           | vg has no predicate 'nosuch'
data subset vg out --split dev                   | there is no split 'dev'; the splits are train, val, test
data convert-vg nowhere out                      | nowhere is not a folder; name the one that holds Visual Genome's
data convert-vg emptydir out                     | emptydir has no image_data.json
data convert-gqa emptydir out                    | emptydir has no train_sceneGraphs.json
data convert-openimages emptydir out             | emptydir has no csv file with 'train' and 'vrd' in its name
data convert-coco nowhere out                    | there is no folder or file nowhere; correct the path
data convert-coco emptydir out                   | has neither train/_annotations.coco.json nor train.json
data convert-coco emptydir vg                    | vg is not empty; choose another folder or add --force
data convert-coco notes.txt out --test 2         | --test is 2.0; give a share from 0 to below 1
data convert-coco notes.txt out                  | notes.txt is not valid JSON at character 1
data export-coco nowhere out                     | there is no dataset folder nowhere
data export-coco vg emptydir/../vg               | is not empty; name another folder
data convert-psg nowhere out                     | nowhere does not exist; correct the path
data convert-psg vg/image_data.json out          | image_data.json is not PSG's file: it must have data
data convert-label-studio notes.txt out          | the following arguments are required: --photos
data convert-label-studio nowhere out --photos vg | nowhere does not exist; correct the path
data convert-label-studio vg/image_data.json out --photos vg | has no data or no annotations; export the project as JSON
report                                           | the following arguments are required: RUN
report nowhere                                   | nowhere does not exist
report afile                                     | afile is no metrics.json
report emptydir                                  | emptydir has no test results
report r-bad                                     | r-bad/metrics.json is not valid JSON at line 1
report r-list                                    | r-list/metrics.json has no 'mode'
report r-text                                    | r-text/metrics.json has figures that are no numbers
report r-each                                    | r-each/metrics.json has figures that are no numbers
report r-mode                                    | r-mode/metrics.json has the mode 3, no task
report r-sgb                                     | r-sgb/result_dict.pytorch
report merged                                    | needs the OUTPUT_DIR of a run
report mean-at-k r-text                          | has figures that are no numbers
report r-text --task predcls                     | --task belongs to hml report merged
doctor --sgb emptydir                            | is not a Scene-Graph-Benchmark checkout
doctor extra                                     | unrecognized arguments: extra
patch apply emptydir                             | emptydir is no Scene-Graph-Benchmark checkout
patch fix emptydir                               | invalid choice: 'fix'
"""


def lines(table: str) -> list[tuple[str, str]]:
    """(command, expected part of the sentence) of each line."""
    pairs = (line.rpartition(" | ") for line in table.splitlines() if line)
    return [(command.strip(), said.strip()) for command, _, said in pairs]
