import sys,time
from pathlib import Path
sys.path[:0]=['/tmp/wt/generator/tests/mutations','/tmp/wt/generator']
if __name__=="__main__":
    import pair_trials as p, shutil
    shutil.rmtree('/tmp/gen_try',ignore_errors=True)
    t=time.time()
    y=p.run(int(sys.argv[1]),int(sys.argv[2]),Path('/tmp/gen_try'),workers=2)
    for x in y.problems: print("\n".join(x.lines(Path('/tmp/gen_try'))))
    print("\n".join(p.matrix(y.trials,by_kind=False)))
    print("\n".join(y.lines())); print(time.time()-t)
